"""`dragon detect` and `dragon zoo run` with nets of Faster R-CNN."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from dragon.proto.text import read_net_definition
from dragon.pycaffe.detector import Detector
from tests.pycaffe.test_region_nets import as_the_authors_write
from tests.tools.conftest import Dragon


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(1).integers(0, 256, (60, 90, 3), np.uint8)
    PIL.Image.fromarray(pixels).save("a.png")
    return tmp_path


def test_on_the_command_line(folder: Path, dragon: Dragon) -> None:
    (folder / "test.prototxt").write_text(as_the_authors_write())
    (folder / "rcnn.yml").write_text("TEST: {SCALES: [30], MAX_SIZE: 40, RPN_MIN_SIZE: 1}")
    Detector(read_net_definition("test.prototxt"), seed=1).save("w.caffemodel")
    result = dragon(
        "detect", "a.png", "--model", "test.prototxt", "--weights", "w.caffemodel", "--mean", "103,116,123",
        "--pictures", "found",
    )  # fmt: skip
    assert result.code == 0, result.error
    assert result.out.splitlines()[0].startswith("a.png ")
    assert (folder / "found" / "a.png").is_file()


def test_a_net_of_the_zoo_on_noise(dragon: Dragon) -> None:
    result = dragon("zoo", "run", "faster_rcnn_scenes")
    assert result.code == 0, result.error
    assert "output  detection_out (1, 1, " in result.out
