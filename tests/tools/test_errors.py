"""Wrong input: one line that says what and where, and exit status 2."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dragon.data import encode_datum, write_lmdb, write_synthetic
from tests.tools.conftest import Dragon, edit

Spoil = Callable[[Path], None]


def spoil(file: str, old: str, new: str) -> Spoil:
    return lambda work: edit(work / file, old, new)


def unlink(file: str) -> Spoil:
    return lambda work: (work / file).unlink()


def bad_label(work: Path) -> None:
    edit(work / "net.prototxt", "num_output: 10", "num_output: 4")


def other_images(work: Path) -> None:
    """A database of images too small for the crop."""
    import numpy as np

    images = np.zeros((20, 3, 16, 16), np.uint8)
    shutil.rmtree(work / "data" / "synthetic_train_lmdb")
    records = ((f"{i:05d}".encode(), encode_datum(image, 1)) for i, image in enumerate(images))
    write_lmdb(work / "data" / "synthetic_train_lmdb", records)


def empty_database(work: Path) -> None:
    shutil.rmtree(work / "data" / "synthetic_train_lmdb")
    import lmdb

    lmdb.open(str(work / "data" / "synthetic_train_lmdb"), map_size=1 << 20).close()


def no_database(work: Path) -> None:
    shutil.rmtree(work / "data" / "synthetic_train_lmdb")


@pytest.mark.parametrize(
    ("spoiler", "words"),
    [
        (unlink("solver.prototxt"), ["solver.prototxt", "No such file"]),
        (unlink("net.prototxt"), ["net.prototxt", "does not exist"]),
        (spoil("solver.prototxt", "base_lr:", "base_rl:"), ["solver.prototxt:5:1", "base_rl", '"base_lr"']),
        (spoil("net.prototxt", "kernel_size:", "kernel_sise:"), ["net.prototxt:15:", '"conv"', '"kernel_size"']),
        (spoil("net.prototxt", '"Convolution"', '"Convolutoin"'), ['"conv"', 'did you mean "Convolution"?']),
        (spoil("net.prototxt", 'bottom: "ip" bottom: "label"', 'bottom: "ipp" bottom: "label"'), [":25:", '"loss"']),
        (spoil("net.prototxt", "kernel_size: 5", "kernel_size: 50"), ['"conv"', "50"]),
        (spoil("solver.prototxt", '"step"', '"stepp"'), ["solver.prototxt", 'did you mean "step"?']),
        (bad_label, ['"acc"', "label"]),
        (other_images, ['"data"', "24"]),
        (empty_database, ['"data"', "synthetic_train_lmdb"]),
        (no_database, ['"data"', "synthetic_train_lmdb"]),
        (spoil("solver.prototxt", "base_lr: 0.01", "base_lr: 1e30"), ["first in", "layer"]),
    ],
    ids=[
        "no solver", "no net", "typo in solver", "typo in net", "layer type", "bottom", "shape", "policy", "label",
        "other images", "empty database", "no database", "nan",
    ],
)  # fmt: skip
@pytest.mark.parametrize("engine", ["numpy", "onednn"])
def test_train(work: Path, dragon: Dragon, spoiler: Spoil, words: list[str], engine: str) -> None:
    spoiler(work)
    result = dragon("train", "-solver", "solver.prototxt", "--engine", engine, "--threads", "1")
    assert result.code == 2
    for word in words:
        assert word in result.error


@pytest.fixture
def weights(work: Path, dragon: Dragon) -> Path:
    dragon("train", "--solver", "solver.prototxt", "--engine", "numpy", "--iterations", "5")
    return work / "out" / "x_iter_5.caffemodel"


def test_truncated_weights(work: Path, dragon: Dragon, weights: Path) -> None:
    whole = weights.read_bytes()
    for part in (1, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        weights.write_bytes(whole[:part])
        result = dragon("test", "--model", "net.prototxt", "--weights", str(weights), "--engine", "numpy")
        assert result.code == 2
        assert weights.name in result.error


def test_truncated_state(work: Path, dragon: Dragon, weights: Path) -> None:
    state = weights.with_suffix(".solverstate")
    state.write_bytes(state.read_bytes()[:-100])
    result = dragon("train", "--solver", "solver.prototxt", "--snapshot", str(state), "--engine", "numpy")
    assert result.code == 2
    assert state.name in result.error


def test_weights_of_another_net(work: Path, dragon: Dragon, weights: Path) -> None:
    edit(work / "net.prototxt", "num_output: 10", "num_output: 11")
    result = dragon("train", "--solver", "solver.prototxt", "--weights", str(weights), "--engine", "numpy")
    assert result.code == 2
    for word in (weights.name, '"ip"', "(11, 100)", "(10, 100)"):
        assert word in result.error
    edit(work / "net.prototxt", "num_output: 11", "num_output: 10")
    text = (work / "net.prototxt").read_text()
    for name in ("conv", "bn", "ip"):
        text = text.replace(f'name: "{name}"', f'name: "other_{name}"')
    (work / "net.prototxt").write_text(text)
    result = dragon("test", "--model", "net.prototxt", "--weights", str(weights), "--engine", "numpy")
    assert result.code == 2
    assert "weights of another net" in result.error


def test_missing_weights_and_snapshot(work: Path, dragon: Dragon) -> None:
    for flag in ("--weights", "--snapshot"):
        result = dragon("train", "--solver", "solver.prototxt", flag, "nix", "--engine", "numpy")
        assert (result.code, "nix" in result.error) == (2, True)


def test_unknown_fields_can_be_skipped(work: Path, dragon: Dragon) -> None:
    edit(work / "net.prototxt", "kernel_size: 5", "kernel_size: 5 sparkle: 3")
    args = ["train", "--solver", "solver.prototxt", "--iterations", "1", "--engine", "numpy"]
    assert dragon(*args).code == 2
    result = dragon(*args, "--allow-unknown")
    assert result.code == 0
    assert "sparkle" in result.err


def test_output_that_cannot_be_written(work: Path, dragon: Dragon) -> None:
    (work / "file").write_text("")
    result = dragon("train", "--solver", "solver.prototxt", "--output", "file/m", "--engine", "numpy")
    assert (result.code, "file" in result.error) == (2, True)


def test_python_layers_need_leave(work: Path, dragon: Dragon) -> None:
    edit(
        work / "net.prototxt",
        'layer { name: "bn" type: "BN" bottom: "conv" top: "conv" }',
        'layer { name: "py" type: "Python" bottom: "conv" top: "py" python_param { module: "m" layer: "L" } }',
    )
    result = dragon("train", "--solver", "solver.prototxt", "--engine", "numpy")
    assert result.code == 2
    assert '"py"' in result.error


def test_another_dataset_in_the_folder(work: Path, dragon: Dragon) -> None:
    write_synthetic("s", train=20, test=10)
    result = dragon("data", "synthetic", "--dir", "s", "--train", "30")
    assert (result.code, "another dataset" in result.error) == (2, True)


def test_a_precision_that_no_engine_of_the_processor_has_is_one_line(work: Path, dragon: Dragon) -> None:
    result = dragon("time", "--model", "net.prototxt", "--precision", "fp16", "--engine", "auto", "--iterations", "1")
    assert result.code == 2
    assert result.err.endswith("the NumPy engine computes in fp32 or int8, not in fp16; fp16 needs --engine cuda\n"), (
        result.err
    )
    assert len(result.err.splitlines()) == 1


def test_a_solver_whose_net_is_a_folder(work: Path, dragon: Dragon) -> None:
    edit(work / "solver.prototxt", "net.prototxt", "data")
    wanted = "solver.prototxt: its net data is a folder, expected the prototxt of a net"
    assert dragon("train", "--solver", "solver.prototxt").error == wanted


def test_a_damaged_state_is_told_in_plain_words(work: Path, dragon: Dragon) -> None:
    (work / "s.solverstate").write_bytes(b"\x08\x07\x12\x7fabc")
    result = dragon("train", "--solver", "solver.prototxt", "--snapshot", "s.solverstate")
    assert result.code == 2
    assert result.error == "s.solverstate: not a solver state, or a damaged one"
