"""`dragon train` and `dragon zoo train` of cifar10_quick by the CUDA engine, from LMDB, tested, stopped and resumed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dragon.models.facts import ROOT
from tests.engines.cuda.conftest import cuda  # noqa: F401
from tests.tools.conftest import Dragon, edit

RECIPE = "seed: 7\nengine: cuda\nprecision: bf16\nthreads: 1\nminutes: 1\nsolver: 'max_iter: 4 snapshot: 2'\n"


@pytest.fixture
def quick(work: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo with cifar10_quick at a small batch, on the drawn images."""
    folder = work / "zoo" / "cifar10_quick"
    folder.mkdir(parents=True)
    text = (ROOT / "cifar10_quick" / "train_val.prototxt").read_text()
    text = re.sub(r"batch_size: \d+", "batch_size: 4", text).replace("data/cifar10/cifar10", "data/synthetic")
    (folder / "train_val.prototxt").write_text(text.replace("data/cifar10/", "data/"))
    (folder / "solver.prototxt").write_text(
        f'net: "{folder}/train_val.prototxt" test_iter: 2 test_interval: 2 base_lr: 0.001 lr_policy: "fixed" '
        'momentum: 0.9 display: 2 max_iter: 4 snapshot: 2 snapshot_prefix: "out/x" random_seed: 3'
    )
    (folder / "weights.yaml").write_text(RECIPE)
    monkeypatch.setattr("dragon.tools.zoo.train.ROOT", work / "zoo")
    return folder


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_resumed_training_has_the_same_bytes(quick: Path, dragon: Dragon, precision: str) -> None:
    command = ["train", "--solver", f"{quick}/solver.prototxt", "--gpu", "0", "--precision", precision]
    whole = dragon(*command)
    assert whole.code == 0, whole.err
    assert "Test net output #0: " in whole.out + whole.err
    expected = Path("out/x_iter_4.caffemodel").read_bytes()
    Path("out/x_iter_4.caffemodel").unlink()
    resumed = dragon(*command, "--snapshot", "out/x_iter_2.solverstate")
    assert resumed.code == 0, resumed.err
    assert Path("out/x_iter_4.caffemodel").read_bytes() == expected


@pytest.mark.usefixtures("cuda")
def test_zoo_train(quick: Path, dragon: Dragon) -> None:
    result = dragon("zoo", "train", "cifar10_quick")
    assert result.code == 0, result.err
    made = Path("weights/cifar10_quick")
    assert (made / "cifar10_quick.caffemodel").stat().st_size > 500_000
    assert "engine: cuda" in (made / "weights.yaml").read_text()
    edit(quick / "weights.yaml", "engine: cuda", "engine: numpy")
    again = dragon("zoo", "train", "cifar10_quick", "--engine", "cuda", "--output", "again")
    assert again.code == 0, again.err
    assert "engine: cuda" in Path("again/cifar10_quick/weights.yaml").read_text()
