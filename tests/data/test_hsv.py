"""Hue, saturation and value: against the standard library's formulas, back again, and against OpenCV."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from dragon.data.hsv import from_hsv, to_hsv

PURE = [(r, g, b) for r in (0, 7, 255) for g in (0, 7, 255) for b in (0, 7, 255)]
RANDOM = np.random.default_rng(2).integers(0, 256, (3, 1, 600), dtype=np.uint8)
PIXELS = np.concatenate([RANDOM, np.array(PURE, np.uint8).T[:, None]], axis=2)


def round_the_circle(difference: np.ndarray) -> np.ndarray:
    turned: np.ndarray = np.minimum(np.abs(difference), 180 - np.abs(difference))
    return turned


def test_as_the_standard_library() -> None:
    hue, saturation, value = to_hsv(PIXELS).astype(int)[:, 0]
    for k, (blue, green, red) in enumerate(PIXELS[:, 0].T.tolist()):
        h, s, v = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
        assert round_the_circle(np.array(hue[k] - 180 * h)) <= 0.51
        assert abs(saturation[k] - 255 * s) <= 0.51
        assert value[k] == round(255 * v)


def test_back_again() -> None:
    hsv = np.random.default_rng(4).integers(0, 256, (3, 1, 500), dtype=np.uint8)
    made = from_hsv(hsv)
    for k, (hue, saturation, value) in enumerate(hsv[:, 0].T.tolist()):
        red, green, blue = colorsys.hsv_to_rgb(hue % 180 / 180, saturation / 255, value / 255)
        np.testing.assert_allclose(made[:, 0, k], 255 * np.array([blue, green, red]), atol=0.51)


def test_as_opencv() -> None:
    cv2 = pytest.importorskip("cv2")
    image = np.ascontiguousarray(PIXELS.transpose(1, 2, 0))
    difference = to_hsv(PIXELS).astype(int) - cv2.cvtColor(image, cv2.COLOR_BGR2HSV).transpose(2, 0, 1)
    assert round_the_circle(difference[0]).max() <= 1
    assert np.abs(difference[1:]).max() <= 1
    hsv = np.random.default_rng(4).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    back = from_hsv(hsv.transpose(2, 0, 1)).astype(int) - cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR).transpose(2, 0, 1)
    assert np.abs(back).max() <= 1
