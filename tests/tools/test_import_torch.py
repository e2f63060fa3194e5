"""`dragon import --torch-weights`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dragon.bases.layer import TEST
from dragon.files.safetensors import write_safetensors
from dragon.graph.net import Net
from tests.export.torch.test_bring_back import LAYERS, foreign_state
from tests.tools.conftest import Dragon

MODEL = str(Path(__file__).parents[2] / "models/cifar10_quick_bn_split/deploy.prototxt")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_there_and_back(dragon: Dragon) -> None:
    with Net(MODEL, phase=TEST, engine="numpy", seed=4) as net:
        for blob in net.params["bn2"]:
            blob.data[...] = np.linspace(0.5, 2, blob.count)
        net.save("w.caffemodel")
    assert dragon("export", "--model", MODEL, "--weights", "w.caffemodel", "--torch", "net.py").code == 0
    done = dragon("import", "--torch-weights", "net.safetensors", "--model", MODEL, "--caffemodel", "back.caffemodel")
    assert done.code == 0, done.err
    assert "written: back.caffemodel, 11 layers found by name" in done.out
    one, other = (Net(MODEL, phase=TEST, weights=path, engine="numpy") for path in ("w.caffemodel", "back.caffemodel"))
    with one, other:
        for name, blobs in one.params.items():
            for mine, its in zip(blobs, other.params[name], strict=True):
                np.testing.assert_allclose(its.peek(), mine.peek(), rtol=1e-6)


def test_another_module(dragon: Dragon) -> None:
    write_safetensors("m.safetensors", foreign_state() | {"extra.weight": np.zeros((7, 7), np.float32)}, {})
    done = dragon("import", "--torch-weights", "m.safetensors", "--model", MODEL, "--out-weights", "back.h5")
    assert done.code == 0, done.err
    assert [line.partition(":")[0] for line in done.out.splitlines()[: len(LAYERS)]] == LAYERS
    assert "not used: extra.weight" in done.out
    assert "found by order and shape" in done.out


def test_values_that_are_not_finite_are_counted(dragon: Dragon) -> None:
    state = foreign_state()
    key = next(iter(state))
    state[key].flat[:2] = np.nan, np.inf
    write_safetensors("m.safetensors", state, {})
    done = dragon("import", "--torch-weights", "m.safetensors", "--model", MODEL, "--caffemodel", "x.caffemodel")
    assert done.code == 0, done.err
    assert f'layer "{LAYERS[0]}": not finite: 2 values' in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", MODEL), "--torch-weights needs --caffemodel"),
        (("--caffemodel", "o.caffemodel"), "--torch-weights needs --model"),
        (("--model", MODEL, "--caffemodel", "m.safetensors"), "m.safetensors is an input, and would be overwritten"),
        (("--model", MODEL, "--caffemodel", "o.caffemodel", "--map", "a"), '--map takes LAYER=PREFIX, got "a"'),
        (("--model", MODEL, "--caffemodel", "o.caffemodel", "--batch", "2"), "--batch is for --onnx, not for --torch-"),
        (("--model", MODEL, "--caffemodel", "o.caffemodel"), "m.safetensors: the net has 1 of conv1 + bn1"),
    ],
)
def test_mistakes_are_one_line(dragon: Dragon, arguments: tuple[str, ...], message: str) -> None:
    write_safetensors("m.safetensors", {"a.weight": np.zeros(3, np.float32)}, {})
    done = dragon("import", "--torch-weights", "m.safetensors", *arguments)
    assert done.code == 2
    assert message in done.error
    assert [path.name for path in Path().iterdir()] == ["m.safetensors"]
