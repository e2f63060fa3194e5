"""`dragon draw`: pages and SVGs without Graphviz, and what it reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.drawing.nets import MODELS, NET
from tests.tools.conftest import Dragon


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")  # no graphviz
    (tmp_path / "n.prototxt").write_text(NET)
    return tmp_path


@pytest.mark.parametrize(("name", "start"), [("n.html", "<!doctype html>"), ("n.htm", "<!doctype"), ("n.svg", "<svg ")])
def test_pictures_without_graphviz(here: Path, dragon: Dragon, name: str, start: str) -> None:
    result = dragon("draw", "n.prototxt", name)
    assert (result.code, result.out, result.err) == (0, f"{name}\n", "")
    text = (here / name).read_text(encoding="utf-8")
    assert text.startswith(start)
    assert "Convolution + BatchNorm + Scale + ReLU" in text
    assert str(here) not in text


def test_a_box_for_each_layer_and_other_directions(here: Path, dragon: Dragon) -> None:
    assert dragon("draw", "n.prototxt", "a.svg", "--every-layer", "--rankdir", "lr", "--display-lrm").code == 0
    text = (here / "a.svg").read_text(encoding="utf-8")
    assert text.count('class="box ') == 8
    assert "lr 3" in text
    for flags in (["--every-layer"], ["--input-shape", "1,3,9,9"]):
        assert dragon("draw", "n.prototxt", "a.dot", *flags).error == f"{flags[0]} is for .html and .svg, not .dot"


def test_shapes_of_missing_data(here: Path, dragon: Dragon) -> None:
    lenet = str(MODELS / "lenet" / "train_val.prototxt")
    result = dragon("draw", lenet, "a.svg", "--phase", "TRAIN")
    assert "the data cannot be read: shapes are for data 64x1x28x28 (as in deploy.prototxt)" in result.err
    assert "64×20×24×24" in (here / "a.svg").read_text(encoding="utf-8")
    assert dragon("draw", lenet, "b.svg", "--input-shape", "data:2,1,32,32").err == ""
    assert "2×20×28×28" in (here / "b.svg").read_text(encoding="utf-8")
    assert "takes shapes like 1,3,224,224" in dragon("draw", lenet, "b.svg", "--input-shape", "a").error


def test_a_folder_that_is_not_there(here: Path, dragon: Dragon) -> None:
    assert dragon("draw", "n.prototxt", "no/a.svg").error == 'no/a.svg: the folder "no" does not exist'


def test_draw(work: Path, dragon: Dragon) -> None:
    assert dragon("draw", "net.prototxt", "net.dot", "--phase", "train").code == 0
    text = (work / "net.dot").read_text()
    assert "conv_Convolution" in text
    assert "acc_Accuracy" not in text
