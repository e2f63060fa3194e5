"""Pictures of images with boxes drawn into them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image

from dragon.pycaffe.io import load_image
from dragon.tools.common.box_pictures import class_colour, write_pictures


def test_those_of_small_images_are_enlarged(tmp_path: Path) -> None:
    for name, size in (("small", (128, 96)), ("large", (200, 161))):
        image = np.zeros((size[1], size[0], 3), np.uint8)
        image[:, 64:] = 200
        PIL.Image.fromarray(image).save(tmp_path / f"{name}.png")
    files = [str(tmp_path / "small.png"), str(tmp_path / "large.png")]
    boxes = [
        {"file": file, "window": (10.0, 40.0, 30.0, 120.0), "class": 1, "label": "thing", "score": 0.9}
        for file in files
    ]
    small, large = (np.round(load_image(path) * 255) for path in write_pictures(str(tmp_path / "p"), files, boxes))
    assert small.shape == (4 * 96, 4 * 128, 3)
    assert large.shape == (161, 200, 3)
    for picture, times in ((small, 4), (large, 1)):
        np.testing.assert_array_equal(picture[30 * times, 100 * times], class_colour(1))  # the lower edge
        np.testing.assert_array_equal(picture[60 * times, 100 * times], (200, 200, 200))


def test_words_stay_inside_of_the_picture(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (400, 300)).save(tmp_path / "dark.png")
    box = {
        "file": str(tmp_path / "dark.png"),
        "window": (290.0, 380.0, 299.0, 399.0),
        "class": 2,
        "label": "a",
        "score": 1,
    }
    drawn = {}
    for label in ("a", "a label of many letters"):
        (path,) = write_pictures(str(tmp_path / label), [box["file"]], [{**box, "label": label}])  # type: ignore[list-item]
        drawn[label] = int((np.round(load_image(path) * 255) == class_colour(2)).all(axis=-1).sum())
    assert drawn["a label of many letters"] > drawn["a"] + 500  # whole words, not those cut off at the right
