"""One rule for the files that a prototxt names: from here, from beside it, from the folders above."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dragon
from dragon.data import write_lmdb
from dragon.errors import DataError, PrototxtError, UsageError
from dragon.files.paths import find, missing_hint, split_paths
from dragon.pycaffe.io import array_to_datum

NET = """
layer { name: "data" type: "Data" top: "data" top: "label"
  data_param { source: "data/set" backend: LMDB batch_size: 1 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose files name each other from its root, and a working directory somewhere else."""
    root = tmp_path / "project"
    (root / "models" / "small").mkdir(parents=True)
    (root / "data").mkdir()
    datum = array_to_datum(np.zeros((1, 2, 2), np.uint8), 1)
    write_lmdb(root / "data" / "set", iter([(b"0", datum.SerializeToString())]))
    (root / "models" / "small" / "net.prototxt").write_text(NET)
    (root / "models" / "small" / "solver.prototxt").write_text(
        'net: "models/small/net.prototxt" base_lr: 0.1 lr_policy: "fixed" weights: "models/small/start.caffemodel"'
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return root


def test_the_working_directory_goes_first_then_the_nearest_folder(project: Path) -> None:
    small = project / "models" / "small"
    assert find("net.prototxt", small) == small / "net.prototxt"
    assert find("data/set", small) == project / "data" / "set"
    (project / "models" / "data" / "set").mkdir(parents=True)
    assert find("data/set", small) == project / "models" / "data" / "set"
    Path("data/set").mkdir(parents=True)
    assert find("data/set", small) == Path("data/set")
    assert find("data/other", small) is None
    assert find("data/set", None) == Path("data/set")
    assert find(str(project / "nowhere"), small) is None


def test_a_project_trains_from_any_working_directory(project: Path) -> None:
    small = project / "models" / "small"
    net = dragon.Net(str(small / "net.prototxt"), dragon.TRAIN)
    net.save(small / "start.caffemodel")
    net.close()
    solver = dragon.get_solver(str(small / "solver.prototxt"))
    np.testing.assert_array_equal(solver.net.params["ip"][0].data, net.params["ip"][0].data)
    solver.step(1)
    solver.close()


def test_errors_say_where_was_looked(project: Path) -> None:
    small = project / "models" / "small"
    (small / "net.prototxt").write_text(NET.replace("data/set", "data/mnist/set"))
    with pytest.raises(DataError) as caught:
        dragon.Net(str(small / "net.prototxt"), dragon.TRAIN)
    assert str(caught.value) == (
        f'{small}/net.prototxt:2: layer "data" (Data): LMDB "data/mnist/set" does not exist '
        f"(looked for from {Path.cwd()}, from {small} and from the folders above that; `dragon data mnist` fetches it)"
    )
    (small / "solver.prototxt").write_text('net: "gone.prototxt" base_lr: 0.1 lr_policy: "fixed"')
    with pytest.raises(PrototxtError, match=r"its net gone.prototxt does not exist .looked for from .*folders above"):
        dragon.get_solver(str(small / "solver.prototxt"))


def test_a_solver_and_its_net_alone_in_a_folder(project: Path) -> None:
    """As files of Caffe's examples are when they were copied out of their tree."""
    small = project / "models" / "small"
    (small / "solver.prototxt").write_text('net: "examples/x/net.prototxt" base_lr: 0.1 lr_policy: "fixed"')
    dragon.get_solver(str(small / "solver.prototxt")).close()


def test_spaces_in_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", " c", "d, e"):
        Path(name).touch()
    assert split_paths("a, b , c,d, e, none") == ["a", "b", " c", "d, e", "none"]


@pytest.mark.parametrize("text", ["", ",", "a,,b", "a,", ",a", "a, ,b"])
def test_a_list_with_an_empty_name(text: str) -> None:
    with pytest.raises(UsageError, match=f'the list of files "{text}" has an entry without a name'):
        split_paths(text)


def test_an_empty_path_of_a_net_or_solver() -> None:
    for make in (dragon.Net, dragon.Solver):
        with pytest.raises(RuntimeError, match="the path of the prototxt is empty"):
            make("")


def test_the_hint_without_a_prototxt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert missing_hint("x") == f" (looked for from {tmp_path})" == missing_hint("x", tmp_path)
    assert missing_hint("/x") == ""
