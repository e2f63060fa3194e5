"""ROIPooling and PSROIPooling against loops over regions, bins and places."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from dragon.errors import DataError, PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

RNG = np.random.default_rng(1)
X = RNG.standard_normal((2, 3, 8, 7))
ROIS = np.array([[0, 0, 0, 12, 14], [1, 3, 2, 9, 9], [1, 4, 4, 4, 4], [0, -6, -5, 3, 40], [0, 30, 30, 40, 40]], float)


def nearest(v: float) -> int:
    return math.floor(v + 0.5)


@pytest.mark.parametrize(("bins", "scale"), [((2, 3), 0.5), ((3, 2), 1.0)])
def test_roi_pooling(bins: tuple[int, int], scale: float) -> None:
    text = f'type: "ROIPooling" roi_pooling_param {{ pooled_h: {bins[0]} pooled_w: {bins[1]} spatial_scale: {scale} }}'
    y = One(text, X, ROIS).forward()
    empty = 0
    for r, roi in enumerate(ROIS):
        x1, y1, x2, y2 = (nearest(v * scale) for v in roi[1:])
        height, width = Fraction(max(y2 - y1 + 1, 1), bins[0]), Fraction(max(x2 - x1 + 1, 1), bins[1])
        for c, i, j in np.ndindex(3, *bins):
            rows = [v for v in range(math.floor(i * height) + y1, math.ceil((i + 1) * height) + y1) if 0 <= v < 8]
            columns = [v for v in range(math.floor(j * width) + x1, math.ceil((j + 1) * width) + x1) if 0 <= v < 7]
            values = [X[int(roi[0]), c, a, b] for a in rows for b in columns]
            empty += not values
            assert y[r, c, i, j] == pytest.approx(max(values, default=0), rel=1e-6)
    assert empty


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_psroi_pooling(scale: float) -> None:
    group, outputs = 2, 3
    x = RNG.standard_normal((2, outputs * group**2, 8, 7))
    text = f'type: "PSROIPooling" psroi_pooling_param {{ spatial_scale: {scale} output_dim: 3 group_size: 2 }}'
    y = One(text, x, ROIS).forward()
    for r, roi in enumerate(ROIS):
        x1, y1 = (nearest(v) * scale for v in roi[1:3])
        x2, y2 = ((nearest(v) + 1) * scale for v in roi[3:5])
        height, width = max(y2 - y1, 0.1) / group, max(x2 - x1, 0.1) / group
        for c, i, j in np.ndindex(outputs, group, group):
            rows = range(max(0, math.floor(i * height + y1)), min(8, math.ceil((i + 1) * height + y1)))
            columns = range(max(0, math.floor(j * width + x1)), min(7, math.ceil((j + 1) * width + x1)))
            values = [x[int(roi[0]), (c * group + i) * group + j, a, b] for a in rows for b in columns]
            expected = sum(values) / len(values) if values else 0
            assert y[r, c, i, j] == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "channels"),
    [
        ('type: "ROIPooling" roi_pooling_param { pooled_h: 2 pooled_w: 3 spatial_scale: 0.5 }', 3),
        ('type: "PSROIPooling" psroi_pooling_param { spatial_scale: 0.5 output_dim: 3 group_size: 2 }', 12),
    ],
)
def test_gradient(text: str, channels: int) -> None:
    """The layer is linear or piecewise so: <dy, y(x + e) - y(x)> = <dx, e> for small e."""
    x = RNG.standard_normal((2, channels, 8, 7))
    one = One(text, x, ROIS, dtype=np.float64)
    before = one.forward().copy()
    dy = RNG.standard_normal(before.shape)
    dx = one.backward(dy, propagate_down=[True, False]).copy()
    step = 1e-7 * RNG.standard_normal(x.shape)
    change = ((one.forward(x + step) - before) * dy).sum()
    assert change == pytest.approx((dx * step).sum(), rel=1e-5)
    check_gradient(text, [x, ROIS], most=60)


def test_messages() -> None:
    text = 'type: "ROIPooling" roi_pooling_param { pooled_h: 2 pooled_w: 2 }'
    with pytest.raises(DataError, match="item of a region 2 at position 0: expected 0 to 1"):
        One(text, X, [[2, 0, 0, 1, 1]]).forward()
    with pytest.raises(ShapeError, match=r"regions \(R, 5\), got \(2, 3, 8, 7\) and \(1, 4\)"):
        One(text, X, [[0, 0, 1, 1]])
    with pytest.raises(PrototxtError, match="pooled_h and pooled_w must be at least 1"):
        One('type: "ROIPooling"', X, ROIS)
    ps = 'type: "PSROIPooling" psroi_pooling_param { spatial_scale: 1 output_dim: 3 group_size: 2 }'
    with pytest.raises(ShapeError, match="= 12 channels"):
        One(ps, X, ROIS)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, 1e30, -1e30])
@pytest.mark.parametrize("corner", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "text",
    [
        'type: "ROIPooling" roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.5 }',
        'type: "PSROIPooling" psroi_pooling_param { spatial_scale: 0.5 output_dim: 1 group_size: 2 }',
    ],
)
def test_a_corner_that_is_no_place(text: str, corner: int, wrong: float) -> None:
    rois = np.array([[0, 0, 0, 6, 6], [0, 0, 0, 6, 6]], float)
    rois[0, corner] = wrong
    x = np.ones((1, 4, 6, 6))
    y = One(text, x, rois).forward()
    assert (y[1] == 1).all()
    assert np.isin(y[0], (0, 1)).all()  # what lies within the image, and nothing where a corner is unknown
    if math.isnan(wrong):
        assert (y[0] == 0).all()


def test_regions_get_a_gradient_of_zero() -> None:
    """They come from layers with weights in Faster R-CNN, whose nets do not say propagate_down."""
    one = One('type: "ROIPooling" roi_pooling_param { pooled_h: 2 pooled_w: 2 }', X, ROIS)
    one.forward()
    one.bottom[1].diff[...] = 7
    one.backward(np.ones((len(ROIS), 3, 2, 2)), propagate_down=[True, True])
    assert (one.bottom[1].diff == 0).all()
    assert (one.bottom[0].diff != 0).any()
