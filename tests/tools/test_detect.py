"""`dragon detect`: scores of windows, and the boxes that a net finds itself, printed and drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dragon.bases.layer import TEST
from dragon.graph.net import Net
from dragon.models.facts import ROOT
from dragon.proto.text import format_text, read_net
from dragon.pycaffe.io import load_image
from dragon.tools.common.box_pictures import class_colour
from tests.models.test_other_tasks import narrowed
from tests.tools.conftest import Dragon


def test_detect(coloured: Path, dragon: Dragon) -> None:
    (coloured / "w.csv").write_text("filename,ymin,xmin,ymax,xmax\nim/red one.png,0,0,10,10\nim/blue one.png,2,2,9,9\n")
    args = ("--model", "deploy.prototxt", "--weights", "net.caffemodel", "--labels", "words.txt")
    result = dragon("detect", "w.csv", *args, "--context-pad", "1", "--out", "scores.csv")
    assert [line.split()[-1] for line in result.out.splitlines()] == ["RED", "BLUE"]
    table = (coloured / "scores.csv").read_text().splitlines()
    assert table[0] == "filename,ymin,xmin,ymax,xmax,BLUE,GREEN,RED"
    assert table[1].startswith("im/red one.png,0.0,0.0,10.0,10.0,")
    assert float(table[1].split(",")[-1]) > 0.9


BOXES = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" pooling_param { pool: AVE kernel_size: 4 stride: 4 } }
layer { name: "prior" type: "PriorBox" bottom: "pool" bottom: "data" top: "prior" prior_box_param { min_size: 4 } }
layer { name: "loc" type: "Convolution" bottom: "pool" top: "loc" convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "conf" type: "Convolution" bottom: "pool" top: "conf" convolution_param { num_output: 3 kernel_size: 1 } }
layer { name: "loc_perm" type: "Permute" bottom: "loc" top: "loc_perm" permute_param {
  order: 0 order: 2 order: 3 order: 1 } }
layer { name: "conf_perm" type: "Permute" bottom: "conf" top: "conf_perm" permute_param {
  order: 0 order: 2 order: 3 order: 1 } }
layer { name: "loc_flat" type: "Flatten" bottom: "loc_perm" top: "loc_flat" }
layer { name: "conf_flat" type: "Flatten" bottom: "conf_perm" top: "conf_flat" }
layer { name: "found" type: "DetectionOutput" bottom: "loc_flat" bottom: "conf_flat" bottom: "prior" top: "found"
  detection_output_param { num_classes: 3 confidence_threshold: 0.5 nms_param { nms_threshold: 0.4 } } }
"""


def boxes_net(bright: float) -> tuple[str, ...]:
    """A net that finds what is bright, of class 1 where red and of class 2 where blue; its flags."""
    Path("boxes.prototxt").write_text(BOXES)
    net = Net("boxes.prototxt", TEST)
    net.params["conf"][0].data[...] = np.array([[0, 0, 0], [0, 0, 1], [1, 0, 0]], float).reshape(3, 3, 1, 1) * bright
    net.save("boxes.caffemodel")
    return ("--model", "boxes.prototxt", "--weights", "boxes.caffemodel")


def test_an_image_for_a_net_that_finds_no_boxes(coloured: Path, dragon: Dragon) -> None:
    from PIL import Image

    Image.new("RGB", (9, 9), "red").save(coloured / "cat.jpg")
    result = dragon("detect", "cat.jpg", "--model", "deploy.prototxt", "--weights", "net.caffemodel")
    assert result.code == 2
    assert result.error == (
        "cat.jpg: a JPEG image; to find boxes in it takes a net that ends with DetectionOutput; "
        "expected a CSV file of windows, filename,ymin,xmin,ymax,xmax"
    )


def test_detect_prints_the_boxes_that_a_net_finds_itself(coloured: Path, dragon: Dragon) -> None:
    """The left half of each picture, 10 high and 20 wide, is bright; the net has boxes of half its input's side."""
    args = boxes_net(1 / 400)
    (coloured / "w3.txt").write_text("none\nRED\nBLUE\n")
    result = dragon("detect", "im/red one.png", *args, "--labels", "w3.txt", "--out", "boxes.csv")
    lines = result.out.splitlines()
    assert [line.split("  ")[0].rsplit(" ", 1)[1] for line in lines] == ["0.0,0.0,5.0,10.0", "5.0,0.0,10.0,10.0"]
    assert [line.split()[-1] for line in lines] == ["RED", "RED"]
    table = (coloured / "boxes.csv").read_text().splitlines()
    assert table[0] == "filename,ymin,xmin,ymax,xmax,label,score"
    assert table[1].startswith("im/red one.png,0,0,5,10,1,0.6")
    # two windows of two pictures: places count from the picture's corner, not from the window's
    (coloured / "w.csv").write_text(
        "filename,ymin,xmin,ymax,xmax\nim/blue one.png,2,4,10,20\nim/red one.png,0,0,10,20\n"
    )
    lines = dragon("detect", "w.csv", *args).out.splitlines()
    assert lines[0].startswith("im/blue one.png 2.0,4.0,6.0,12.0  ")
    assert [line.rsplit("  ", 1)[1] for line in lines] == ["class 2", "class 2", "class 1", "class 1"]
    assert dragon("detect", "im/red one.png", *boxes_net(1 / 2000)).out == "no boxes found\n"


def test_detect_draws_boxes(coloured: Path, dragon: Dragon) -> None:
    args = boxes_net(1 / 400)
    (coloured / "map.prototxt").write_text(
        '# SSD\nitem { name: "none" label: 0 } item { name: "r" label: 1 display_name: "Red thing" }\n'
    )
    images = ("im/red one.png", "im/blue one.png")
    result = dragon("detect", *images, *args, "--labels", "map.prototxt", "--pictures", "drawn/new")
    lines = result.out.splitlines()
    assert [line.split("  ")[-1] for line in lines[:4]] == ["Red thing", "Red thing", "class 2", "class 2"]
    assert [Path(line.removeprefix("written: ")) for line in lines[4:]] == [
        Path("drawn/new/red one.png"), Path("drawn/new/blue one.png"),
    ]  # fmt: skip
    before, after = load_image(images[0]), load_image("drawn/new/red one.png")
    assert after.shape == before.shape
    np.testing.assert_allclose(after[0, 0] * 255, class_colour(1))
    assert class_colour(1) != class_colour(2)
    low = dragon("detect", *images, *args, "--min-score", "1", "--pictures", "drawn")
    assert low.out.splitlines()[0] == "no boxes found"
    assert (load_image("drawn/red one.png") == before).all()
    found = json.loads(dragon("detect", images[0], *args, "--pictures", "p", "--json").out)
    assert (len(found["boxes"]), found["pictures"]) == (2, [str(Path("p") / "red one.png")])


def test_detect_refuses_to_draw(coloured: Path, dragon: Dragon) -> None:
    args = boxes_net(1 / 400)
    assert "is an image that is read, and would be overwritten" in (
        dragon("detect", "im/red one.png", *args, "--pictures", "im").error
    )
    (coloured / "file").write_text("")
    no_folder = dragon("detect", "im/red one.png", *args, "--pictures", "file")
    assert (no_folder.code, no_folder.out) == (2, "")
    assert "'file' is a file" in no_folder.error
    (coloured / "map.prototxt").write_text('item { name: "a" lable: 1 }')
    assert "map.prototxt:1:18: " in dragon("detect", "im/red one.png", *args, "--labels", "map.prototxt").error
    (coloured / "map.prototxt").write_text('item { name: "a" label: -1 }')
    assert "labels are numbers from 0 to 1000000, got -1 to -1" in (
        dragon("detect", "im/red one.png", *args, "--labels", "map.prototxt").error
    )
    (coloured / "w.csv").write_text("filename,ymin,xmin,ymax,xmax\nim/red one.png,0,0,10,10\n")
    result = dragon("detect", "w.csv", "--model", "deploy.prototxt", "--weights", "net.caffemodel", "--pictures", "p")
    assert "--pictures is for nets that find boxes, with a DetectionOutput" in result.error


def test_detect_refuses_context_around_windows_of_a_net_that_finds_boxes(coloured: Path, dragon: Dragon) -> None:
    result = dragon("detect", "im/red one.png", *boxes_net(1 / 400), "--context-pad", "1")
    assert result.code == 2
    assert result.error == "a net that finds boxes itself takes no context around the window: leave context_pad out"


@pytest.mark.parametrize("name", ["mobilenet_ssd", "ssd300_vgg"])
def test_detect_runs_the_detectors_of_the_zoo(name: str, coloured: Path, dragon: Dragon) -> None:
    """VGG's layers are narrow; tests/models counts those of the zoo."""
    model = coloured / "zoo.prototxt"
    model.write_text(format_text(narrowed(read_net(ROOT / name / "deploy.prototxt"), name)))
    net = Net(model, TEST)
    rng = np.random.default_rng(1)
    for key, blobs in net.params.items():
        if key.endswith("mbox_conf"):  # of the rest, biases of the scores are enough to find boxes
            blobs[1].data[...] = rng.standard_normal(blobs[1].shape) * 3
    net.save("zoo.caffemodel")
    result = dragon("detect", "im/red one.png", "--model", str(model), "--weights", "zoo.caffemodel", "--mean", "127.5")
    assert result.code == 0
    assert len(result.out.splitlines()) > 1
    assert all(line.split("  ")[-1].startswith("class ") for line in result.out.splitlines())
