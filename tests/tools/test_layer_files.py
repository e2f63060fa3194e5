"""Files that a net names to be written are written by training, and by others when asked; never over what is read."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import pytest

from dragon.bases.layer import TEST
from dragon.graph.net import Net
from tests.tools.conftest import Dragon, edit

WRITER = """
layer { name: "out" type: "HDF5Output" bottom: "ip" bottom: "label" hdf5_output_param { file_name: "victim.h5" } }
"""


@pytest.fixture
def victim(work: Path) -> Path:
    """A net that writes to a file which is there already, its weights and an image."""
    with (work / "net.prototxt").open("a") as file:
        file.write(WRITER)
    edit(work / "solver.prototxt", "max_iter: 20", "max_iter: 2")
    net = Net("net.prototxt", TEST)
    net.save("w.caffemodel")
    net.close()
    (work / "victim.h5").write_text("precious")
    return work / "victim.h5"


@pytest.mark.parametrize(
    "line",
    [
        "test --model net.prototxt --weights w.caffemodel --iterations 2",
        "time --model net.prototxt --iterations 1 --engine numpy",
        "time --solver solver.prototxt --iterations 1 --engine numpy",
        "summarize --model net.prototxt",
        "split --model net.prototxt --weights w.caffemodel --out-model o.prototxt --out-weights o.caffemodel",
        "recalibrate --model net.prototxt --weights w.caffemodel --out o.caffemodel --batches 1",
        "extract-features --model net.prototxt --weights w.caffemodel --blob ip --batches 1 --out o.h5",
        "lint net.prototxt",
    ],
)
def test_commands_that_look_at_a_net_write_nothing_that_it_names(line: str, victim: Path, dragon: Dragon) -> None:
    result = dragon(*line.split())
    assert result.code in (0, 1), result.err
    assert victim.read_text() == "precious"


@pytest.mark.parametrize(
    "line",
    [
        "train --solver solver.prototxt",
        "test --model net.prototxt --weights w.caffemodel --iterations 2 --write-files",
    ],
)
def test_training_and_an_option_write_it(line: str, victim: Path, dragon: Dragon) -> None:
    assert dragon(*line.split()).code == 0
    with h5py.File(victim) as file:
        assert file["data"].shape == (16, 10)


@pytest.mark.parametrize("name", ["w.caffemodel", "net.prototxt", "solver.prototxt", "link.h5"])
def test_what_the_command_reads_is_spared(name: str, victim: Path, dragon: Dragon) -> None:
    Path("link.h5").symlink_to("w.caffemodel")
    edit(Path("net.prototxt"), "victim.h5", name)
    before = Path(name).read_bytes()
    result = dragon("train", "--solver", "solver.prototxt", "--weights", "w.caffemodel")
    assert f"{name} is a file that is read as well, and would be overwritten" in result.error
    assert Path(name).read_bytes() == before


def test_a_snapshot_over_the_weights_is_refused_at_the_start(work: Path, dragon: Dragon) -> None:
    Net("net.prototxt", TEST).save("w.caffemodel")
    Path("out").mkdir()
    shutil.copy("w.caffemodel", "out/x_iter_10.caffemodel")
    args = ("train", "--solver", "solver.prototxt", "--weights")
    result = dragon(*args, "out/x_iter_10.caffemodel")
    assert result.error.startswith("out/x_iter_10.caffemodel is read, and the snapshot at iteration 10 would overwrite")
    assert [path.name for path in Path("out").iterdir()] == ["x_iter_10.caffemodel"]
    for name in (
        "x_iter_11.caffemodel",
        "x_iter_25.caffemodel",
        "y_iter_10.caffemodel",
    ):  # no snapshot gets these names
        shutil.copy("w.caffemodel", f"out/{name}")
        assert dragon(*args, f"out/{name}", "--iterations", "5").code == 0
