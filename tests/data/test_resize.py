from __future__ import annotations

import numpy as np
import pytest

from dragon.data.resize import resize_bilinear

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
