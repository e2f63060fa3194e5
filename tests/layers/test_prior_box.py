from __future__ import annotations

import math

import numpy as np
import pytest

from dragon.errors import PrototxtError
from dragon.memory.storage import Array
from tests.layers.helpers import One

MAP, IMAGE = np.zeros((1, 2, 2, 3)), np.zeros((1, 3, 40, 60))


def boxes(setting: str) -> Array:
    y = One(f'type: "PriorBox" prior_box_param {{ {setting} }}', MAP, IMAGE).forward()
    found: Array = y.reshape(2, 2, 3, -1, 4)
    return found


def expected(
    sizes: list[tuple[float, float]], step: tuple[float, float], offset: float, image: tuple[int, int]
) -> list[float]:
    found = []
    for i in range(2):
        for j in range(3):
            for width, height in sizes:
                x, y = (j + offset) * step[1], (i + offset) * step[0]
                found += [
                    (x - width / 2) / image[1],
                    (y - height / 2) / image[0],
                    (x + width / 2) / image[1],
                    (y + height / 2) / image[0],
                ]
    return found


@pytest.mark.parametrize(
    ("setting", "sizes", "step", "offset", "image"),
    [
        ("min_size: 10", [(10, 10)], (20, 20), 0.5, (40, 60)),
        ("min_size: 10.7 max_size: 20", [(10, 10), (200**0.5, 200**0.5)], (20, 20), 0.5, (40, 60)),
        (
            "min_size: 10 aspect_ratio: 2 aspect_ratio: 1 aspect_ratio: 0.5",
            [(10, 10), (10 * 2**0.5, 10 / 2**0.5), (10 / 2**0.5, 10 * 2**0.5)],
            (20, 20),
            0.5,
            (40, 60),
        ),
        ("min_size: 9 aspect_ratio: 4 flip: false", [(9, 9), (18, 4.5)], (20, 20), 0.5, (40, 60)),
        ("min_size: 8 min_size: 4 step: 16 offset: 0", [(8, 8), (4, 4)], (16, 16), 0, (40, 60)),
        ("min_size: 8 step_h: 10 step_w: 30 img_size: 50", [(8, 8)], (10, 30), 0.5, (50, 50)),
        ("min_size: 8 img_h: 20 img_w: 30", [(8, 8)], (10, 10), 0.5, (20, 30)),
    ],
)
def test_boxes(
    setting: str, sizes: list[tuple[float, float]], step: tuple[float, float], offset: float, image: tuple[int, int]
) -> None:
    np.testing.assert_allclose(boxes(setting)[0].ravel(), expected(sizes, step, offset, image), rtol=1e-5, atol=1e-7)


def test_clip() -> None:
    whole, cut = boxes("min_size: 30")[0], boxes("min_size: 30 clip: true")[0]
    assert whole.min() < 0
    assert whole.max() > 1
    np.testing.assert_array_equal(cut, whole.clip(0, 1))


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("", [0.1] * 4),
        ("variance: 0.2", [0.2] * 4),
        ("variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.3", [0.1, 0.1, 0.2, 0.3]),
    ],
)
def test_variances(setting: str, values: list[float]) -> None:
    np.testing.assert_allclose(boxes(f"min_size: 5 {setting}")[1].reshape(-1, 4), [values] * 6, rtol=1e-6)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("", "needs at least one positive min_size"),
        ("min_size: 3 min_size: 4 max_size: 5", "expected a max_size for each of 2 min_size, got 1"),
        ("min_size: 3 max_size: 3", "each max_size must exceed its min_size"),
        ("min_size: 3 aspect_ratio: 0", "aspect_ratio must be positive"),
        ("min_size: 3 variance: 1 variance: 2", "variance must be 1 or 4 positive numbers"),
        ("min_size: 3 step: 1 step_h: 2 step_w: 3", "give step or step_h and step_w, not both"),
        ("min_size: 3 img_h: 2", "img_h and img_w must be given together"),
        ("min_size: 3 img_size: 0", "img_size must be positive"),
    ],
)
def test_messages(setting: str, message: str) -> None:
    with pytest.raises(PrototxtError, match=message):
        boxes(setting)


def test_sizes_are_whole_pixels() -> None:
    assert math.isclose(float(np.ptp(boxes("min_size: 10.9")[0, 0, 0, 0, ::2])), 10 / 60, rel_tol=1e-5)
