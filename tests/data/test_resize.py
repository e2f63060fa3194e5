from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from dragon.data.detection.draws import Draws
from dragon.data.detection.resized import resize
from dragon.data.resize import resize_bilinear, resize_nearest
from dragon.errors import ShapeError
from dragon.proto import dragon_pb2 as pb
from dragon.pycaffe.io import resize_image
from dragon.rng import Stream

IMAGE = np.random.default_rng(1).uniform(0, 255, (2, 5, 4)).astype(np.float32)


@pytest.mark.parametrize("size", [(5, 4), (10, 8), (3, 7), (1, 1), (2, 2)])
def test_against_loops(size: tuple[int, int]) -> None:
    height, width = size
    result = resize_bilinear(IMAGE, height, width)
    for c, i, j in np.ndindex(2, height, width):
        y = min(max((i + 0.5) * 5 / height - 0.5, 0), 4)
        x = min(max((j + 0.5) * 4 / width - 0.5, 0), 3)
        y0, x0 = int(y), int(x)
        y1, x1 = min(y0 + 1, 4), min(x0 + 1, 3)
        rows = [IMAGE[c, r, x0] * (1 - (x - x0)) + IMAGE[c, r, x1] * (x - x0) for r in (y0, y1)]
        assert result[c, i, j] == pytest.approx(rows[0] * (1 - (y - y0)) + rows[1] * (y - y0), rel=1e-5)


def test_whole_numbers_are_rounded() -> None:
    image = np.array([[[0, 255]]], np.uint8)
    assert resize_bilinear(image, 1, 4).tolist() == [[[0, 64, 191, 255]]]
    assert resize_bilinear(image, 1, 4).dtype == np.uint8


# What OpenCV 4.14 makes of PIXELS by INTER_LINEAR
PIXELS = np.array([[[0, 37, 255, 90], [12, 200, 3, 77], [255, 1, 128, 64]]], np.uint8)
EXPECTED = {
    (2, 3): [[15, 135, 104], [170, 74, 72]],
    (5, 6): [
        [0, 18, 73, 219, 172, 90],
        [5, 53, 111, 145, 119, 85],
        [12, 106, 167, 36, 40, 77],
        [158, 119, 80, 78, 73, 69],
        [255, 128, 22, 107, 96, 64],
    ],
    (3, 2): [[19, 173], [106, 40], [128, 96]],
    (1, 1): [[102]],
}


@pytest.mark.parametrize("size", EXPECTED)
def test_pixels_are_those_of_opencv(size: tuple[int, int]) -> None:
    assert resize_bilinear(PIXELS, *size).tolist() == [EXPECTED[size]]


def test_a_half_is_the_mean_of_four() -> None:
    assert resize_bilinear(PIXELS[:, :2], 1, 2).tolist() == [[[62, 106]]]


def test_any_size_against_opencv() -> None:
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(1)
    for height, width, new_height, new_width in rng.integers(1, 80, (150, 4)).tolist():
        for size in [(new_height, new_width), (2 * height, 2 * width), (height, new_width)]:
            for channels in (1, 3, 4):
                image = rng.integers(0, 256, (channels, height, width)).astype(np.uint8)
                flipped = cv2.resize(np.ascontiguousarray(image.transpose(1, 2, 0)), size[::-1])
                expected = flipped.reshape(*size, channels).transpose(2, 0, 1)
                assert np.array_equal(resize_bilinear(image, *size), expected)


def test_nearest_against_opencv() -> None:
    """Where a new pixel begins exactly with an old one, too: (22, 36), (28, 36) and others."""
    cv2 = pytest.importorskip("cv2")
    for height, width in [(22, 28), (24, 39), (10, 9)]:
        labels = np.arange(height * width).reshape(height, width).astype(np.float32)
        for new in range(1, 60):
            expected = cv2.resize(labels, (new, new), interpolation=cv2.INTER_NEAREST)
            np.testing.assert_array_equal(resize_nearest(labels, new, new), expected)


def test_a_size_that_no_memory_holds() -> None:
    image, size = np.zeros((3, 8, 8), np.uint8), (2**31 - 1, 2**31 - 1)
    message = r"resized image: shape \(.*2147483647, 2147483647\) takes .* GiB, this machine has"
    for dtype in (np.uint8, np.float32):
        with pytest.raises(ShapeError, match=message):
            resize_bilinear(image.astype(dtype), *size)
    with pytest.raises(ShapeError, match=message):
        resize_nearest(image[0], *size)
    with pytest.raises(ShapeError, match="resized image"):
        resize_image(image.transpose(1, 2, 0), size)


@pytest.mark.parametrize("mode", pb.ResizeParameter.Interp_mode.keys())
@pytest.mark.parametrize("way", pb.ResizeParameter.Resize_mode.keys())
def test_each_way_to_a_size_that_no_memory_holds(way: str, mode: str) -> None:
    size = 2**31 - 1
    text = f"resize_mode: {way} interp_mode: {mode} height: {size} width: {size}"
    p = text_format.Parse(text, pb.ResizeParameter())
    with pytest.raises(ShapeError, match="resized image"):
        resize(np.zeros((3, 8, 8), np.uint8), p, Draws(Stream(1, "images").bits()))
