"""PSROIAlign against a loop over regions, bins and points."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

CATALOGUE = {
    "PSROIAlign": [("psroi_align_param { spatial_scale: 0.8 output_dim: 1 group_size: 2 }", ((2, 4, 5, 4), "rois"))]
}
RNG = np.random.default_rng(1)
X = RNG.standard_normal((2, 12, 8, 7))
ROIS = np.array(
    [[0, 0, 0, 12, 14], [1, 3.3, 2.1, 9.7, 9.2], [1, 4, 4, 4, 9], [0, -6, -5, 3, 40], [0, 30, 30, 40, 40],
     [1, 9, 9, 2, 3], [0, 2, 2, 10, 10]], float,
)  # fmt: skip


def point(plane: np.ndarray, y: float, x: float) -> float:
    height, width = plane.shape
    if not (0 <= y <= height - 1 and 0 <= x <= width - 1):
        return 0.0
    i, j = min(math.floor(y), height - 2), min(math.floor(x), width - 2)
    v, u = y - i, x - j
    rows = plane[i : i + 2, j : j + 2] @ [1 - u, u]
    return float(rows @ [1 - v, v])


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_values(scale: float) -> None:
    text = f'type: "PSROIAlign" psroi_align_param {{ spatial_scale: {scale} output_dim: 3 group_size: 2 }}'
    y = One(text, X, ROIS, dtype=np.float64).forward()
    assert y.shape == (7, 3, 2, 2)
    for r, (item, *corners) in enumerate(ROIS):
        x1, y1, x2, y2 = (v * scale for v in corners)
        height, width = (y2 - y1) / 2, (x2 - x1) / 2
        for c, i, j in np.ndindex(3, 2, 2):
            plane = X[int(item), (c * 2 + i) * 2 + j]
            values = [
                point(plane, y1 + (i + a) * height, x1 + (j + b) * width) for a in (0.25, 0.75) for b in (0.25, 0.75)
            ]
            expected = sum(values) / 4 if min(height, width) > 0 else 0
            assert y[r, c, i, j] == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("size", [(0, 3), (3, 0), (0, 0)])
def test_features_without_positions(size: tuple[int, int]) -> None:
    one = One('type: "PSROIAlign" psroi_align_param { spatial_scale: 1 output_dim: 3 group_size: 2 }',
              np.zeros((2, 12, *size)), ROIS)  # fmt: skip
    assert not one.forward().any()
    assert one.backward(1).size == 0


def test_gradient() -> None:
    text = 'type: "PSROIAlign" psroi_align_param { spatial_scale: 0.5 output_dim: 3 group_size: 2 }'
    assert check_gradient(text, [X, ROIS]) == 150


def test_errors() -> None:
    with pytest.raises(PrototxtError, match="output_dim and group_size must be at least 1, got 0 and 2"):
        One('type: "PSROIAlign" psroi_align_param { spatial_scale: 1 output_dim: 0 group_size: 2 }', X, ROIS)
    with pytest.raises(ShapeError, match="= 8 channels, got"):
        One('type: "PSROIAlign" psroi_align_param { spatial_scale: 1 output_dim: 2 group_size: 2 }', X, ROIS)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, 1e300])
def test_a_corner_that_is_no_place_gives_nothing(wrong: float) -> None:
    rois = np.array([[0, 2, 2, 10, 10], [0, wrong, 2, 10, 10], [0, 2, 2, 10, wrong]])
    text = 'type: "PSROIAlign" psroi_align_param { spatial_scale: 1 output_dim: 3 group_size: 2 }'
    y = One(text, X, rois, dtype=np.float64).forward()
    assert (y[0] != 0).any()
    assert not y[1:].any()
