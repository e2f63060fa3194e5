"""What a worker elsewhere checks before a job: the data of py-faster-rcnn's layers, and the code of Python layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dragon.compare.data_files import forget_files
from dragon.compare.same_data import check_data, data_of
from dragon.errors import DataError

NET = """
layer { name: "data" type: "Python" top: "data" top: "im_info" top: "gt_boxes"
        python_param { module: "roi_data_layer.layer" layer: "RoIDataLayer" param_str: "'num_classes': 3" } }
layer { name: "own" type: "Python" bottom: "data" top: "own" python_param { module: "my_layer" layer: "Mine" } }
"""
CONFIGURATION = "DATA: {source: list.txt}\nTRAIN: {SCALES: [600]}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A net's folder, with the settings beside it, a list and a module."""
    (tmp_path / "rcnn.yml").write_text(CONFIGURATION)
    (tmp_path / "list.txt").write_text("a b\n")
    (tmp_path / "my_layer.py").write_text("class Mine: pass\n")
    forget_files()
    return tmp_path


def test_the_same_data_pass(folder: Path) -> None:
    data = data_of({"net": NET, "net_folder": str(folder)})
    assert str(folder / "list.txt") in [path for path, *_ in data]
    check_data(data)


@pytest.mark.parametrize("nets", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda place: (place / "list.txt").write_text("a c\n"), r"list\.txt: another file than the experiment's"),
        (lambda place: (place / "list.txt").unlink(), r"list\.txt: no such file; workers need"),
        (
            lambda place: (place / "rcnn.yml").write_text(CONFIGURATION.replace("600", "500")),
            r'layer "data" has other settings, as of rcnn\.yml, or data than the experiment\'s',
        ),
        (
            lambda place: (place / "rcnn.yml").unlink(),
            r'layer "data" has other settings, as of rcnn\.yml, or data than the experiment\'s',
        ),
        (
            lambda place: (place / "my_layer.py").write_text("class Mine: x = 1\n"),
            'the module "my_layer" has other code than the experiment\'s: digest .*, expected ',
        ),
        (lambda place: (place / "my_layer.py").unlink(), 'no module "my_layer"; workers need those of the experiment'),
        (
            lambda place: (
                (place / "roi_data_layer").mkdir(),
                (place / "roi_data_layer" / "layer.py").write_text("x = 1"),
            ),
            'the module "roi_data_layer.layer" has other code than the experiment\'s: digest .*, expected none',
        ),
    ],
)
def test_what_is_another_on_a_worker(folder: Path, change: Callable[[Path], object], message: str, nets: bool) -> None:
    content = (
        {"nets": ["", NET], "net_folders": [None, str(folder)]} if nets else {"net": NET, "net_folder": str(folder)}
    )
    data = data_of(content)
    change(folder)
    with pytest.raises(DataError, match=message):
        check_data(data)
