"""ROIAlign against a loop over regions, bins and points, each interpolated from its four neighbours."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dragon.errors import DataError, PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

IMAGE = (2, 6, 5, 4)
CATALOGUE = {
    "ROIAlign": [
        ("roi_align_param { pooled_h: 2 pooled_w: 2 }", (IMAGE, "rois")),
        ("roi_align_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.5 sampling_ratio: 2 }", (IMAGE, "rois")),
    ]
}
RNG = np.random.default_rng(1)
X = RNG.standard_normal((2, 3, 8, 7))
ROIS = np.array(
    [[0, 0, 0, 12, 14], [1, 3.3, 2.1, 9.7, 9.2], [1, 4, 4, 4.2, 4.1], [0, -6, -5, 3, 40], [0, 30, 30, 40, 40],
     [1, -2.2, 0, 16, 15.5]], float,
)  # fmt: skip


def interpolated(plane: np.ndarray, y: float, x: float) -> float:
    height, width = plane.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    i, j = min(int(y), height - 2), min(int(x), width - 2)
    v, u = y - i, x - j
    return float(
        plane[i, j] * (1 - v) * (1 - u) + plane[i, j + 1] * (1 - v) * u
        + plane[i + 1, j] * v * (1 - u) + plane[i + 1, j + 1] * v * u
    )  # fmt: skip


@pytest.mark.parametrize("ratio", [-1, 1, 2, 5])
@pytest.mark.parametrize(("bins", "scale"), [((2, 3), 0.5), ((3, 2), 1.0), ((7, 7), 0.25)])
def test_values(bins: tuple[int, int], scale: float, ratio: int) -> None:
    text = (
        f'type: "ROIAlign" roi_align_param {{ pooled_h: {bins[0]} pooled_w: {bins[1]} spatial_scale: {scale} '
        f"sampling_ratio: {ratio} }}"
    )
    y = One(text, X, ROIS, dtype=np.float64).forward()
    for r, (item, *corners) in enumerate(ROIS):
        x1, y1, x2, y2 = (v * scale for v in corners)
        height, width = max(y2 - y1, 1) / bins[0], max(x2 - x1, 1) / bins[1]
        rows, columns = (ratio, ratio) if ratio > 0 else (math.ceil(height), math.ceil(width))
        for c, i, j in np.ndindex(3, *bins):
            points = [
                interpolated(
                    X[int(item), c], y1 + (i + (a + 0.5) / rows) * height, x1 + (j + (b + 0.5) / columns) * width
                )
                for a in range(rows)
                for b in range(columns)
            ]
            assert y[r, c, i, j] == pytest.approx(sum(points) / len(points), rel=1e-9, abs=1e-12)
    check_gradient(text, [X, ROIS], most=40)


@pytest.mark.parametrize("size", [(0, 3), (3, 0), (0, 0)])
def test_features_without_positions(size: tuple[int, int]) -> None:
    one = One('type: "ROIAlign" roi_align_param { pooled_h: 2 pooled_w: 1 }', np.zeros((2, 3, *size)), ROIS)
    assert not one.forward().any()
    assert one.backward(1).size == 0


def test_huge_regions_and_nan_end_at_once() -> None:
    text = 'type: "ROIAlign" roi_align_param { pooled_h: 2 pooled_w: 2 }'
    rois = [[0, -1e9, -1e9, 1e9, 1e9], [0, np.nan, 0, 4, 4], [0, 0, 0, np.inf, 4]]
    y = One(text, X, rois).forward()
    assert np.isfinite(y[0]).all()
    assert not y[1:].any()


def test_what_is_far_away_does_not_count() -> None:
    x = X.copy()
    x[:, :, 6:] = np.nan
    y = One('type: "ROIAlign" roi_align_param { pooled_h: 2 pooled_w: 2 }', x, [[0, 1, 1, 5, 5]]).forward()
    assert np.isfinite(y).all()


def test_messages() -> None:
    text = 'type: "ROIAlign" roi_align_param { pooled_h: 2 pooled_w: 2 }'
    with pytest.raises(DataError, match="item of a region 2 at position 0: expected 0 to 1"):
        One(text, X, [[2, 0, 0, 1, 1]]).forward()
    with pytest.raises(ShapeError, match=r"regions \(R, 5\), got \(2, 3, 8, 7\) and \(1, 4\)"):
        One(text, X, [[0, 0, 1, 1]])
    with pytest.raises(PrototxtError, match="pooled_h and pooled_w must be at least 1"):
        One('type: "ROIAlign"', X, ROIS)
    with pytest.raises(PrototxtError, match="spatial_scale must be positive, got -1"):
        One('type: "ROIAlign" roi_align_param { pooled_h: 2 pooled_w: 2 spatial_scale: -1 }', X, ROIS)
    with pytest.raises(PrototxtError, match="sampling_ratio must be at most 1024, got 2000000000"):
        One('type: "ROIAlign" roi_align_param { pooled_h: 2 pooled_w: 2 sampling_ratio: 2000000000 }', X, ROIS)
