"""Scenes of digits: boxes where the ink is, the labels of the digits, test digits in the test part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dragon.data import Color, LmdbReader
from dragon.data.detection.mnist_scenes import compose_scenes, write_scenes
from dragon.data.detection.record import decode_annotated
from dragon.data.drawn import Digits
from dragon.errors import DataError


def blocks(labels: range) -> tuple[np.ndarray, np.ndarray]:
    """Digits whose ink is a block 10 wide and 5 + label high."""
    images = np.zeros((len(labels), 28, 28), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[6 : 11 + label, 9:19] = 255
    return images, np.array(labels, np.uint8)


DIGITS = Digits(blocks(range(10)), blocks(range(4, 7)))


def test_boxes_have_the_shape_of_the_digit_and_its_ink() -> None:
    scenes = list(compose_scenes(DIGITS.train, 80, np.random.default_rng(1)))
    assert {one.kind for scene in scenes for one in scene.objects} == set("0123456789")
    assert {len(scene.objects) for scene in scenes} == {1, 2, 3, 4, 5}
    for scene in scenes:
        assert scene.image.shape == (3, 96, 96)
        for one in scene.objects:
            x0, y0, x1, y1 = one.box
            assert (y1 - y0) / (x1 - x0) == pytest.approx((5 + int(one.kind)) / 10, abs=0.17)
        if len(scene.objects) == 1:
            x0, y0, x1, y1 = map(int, scene.objects[0].box)
            inside = scene.image[:, y0 + 1 : y1 - 1, x0 + 1 : x1 - 1].astype(int)
            rest = np.ones((96, 96), bool)
            rest[max(0, y0 - 2) : y1 + 2, max(0, x0 - 2) : x1 + 2] = False
            outside = scene.image[:, rest].astype(int)
            assert np.abs(np.median(inside, axis=(1, 2)) - np.median(outside, axis=1)).mean() > 40
            assert inside.std(axis=(1, 2)).max() < 10


def test_the_folder(tmp_path: Path) -> None:
    made = write_scenes(tmp_path / "scenes", lambda: DIGITS, train=6, test=4)
    with LmdbReader(made.folder / "scenes_test_lmdb") as reader:
        rows = [decode_annotated(record, Color.AS_STORED, "it").rows for record in reader.read(4)]
    labels = {int(row[0]) for one in rows if one is not None for row in one}
    assert labels <= {5, 6, 7}
    assert labels
    assert (made.folder / "coco/instances_train.json").is_file()

    def never() -> Digits:
        raise AssertionError

    assert not write_scenes(tmp_path / "scenes", never, train=6, test=4).written
    with pytest.raises(DataError, match="at least one in each part"):
        write_scenes(tmp_path / "none", never, train=0)
