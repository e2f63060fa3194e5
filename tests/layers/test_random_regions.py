"""Random features and regions, pooled as their papers' programs do it, bin by bin, and their gradients.

REGIONS=N tries N cases of each layer; REGIONS_START=S begins with seed S.
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import pytest

from tests.layers.helpers import One

COUNT = int(os.environ.get("REGIONS", "25"))
START = int(os.environ.get("REGIONS_START", "0"))
SEEDS = pytest.mark.parametrize("seed", range(START, START + COUNT))


def nearest(x: float) -> int:
    return math.floor(x + 0.5)


class Case:
    """Features (N, C, H, W), regions (R, 5) that may lie outside or end before they begin, bins and a scale."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.n, self.outputs, *self.bins = self.rng.integers(1, [3, 3, 5, 5]).tolist()
        self.size = self.rng.integers(1, 9, 2).tolist()
        self.scale = float(self.rng.choice([1, 0.5, 0.25, 0.0625]))
        corners = self.rng.uniform(-0.4, 1.4, (int(self.rng.integers(1, 6)), 2, 2)) * self.size[::-1] / self.scale
        if self.rng.random() < 0.3:
            corners = np.floor(corners)
        if self.rng.random() < 0.7:
            corners = np.sort(corners, axis=1)
        items = self.rng.integers(0, self.n, (len(corners), 1))
        self.rois = np.concatenate([items, corners.reshape(-1, 4)], axis=1)

    def features(self, channels: int) -> Any:
        """All different, so that each maximum has one place."""
        shape = (self.n, channels, *self.size)
        return self.rng.permutation(math.prod(shape)).reshape(shape) - math.prod(shape) / 2

    def check(self, text: str, x: Any, weights: Any) -> None:
        """weights(item, region, output, i, j): channel and weights (H, W) of the features in a bin."""
        one = One(text, x, self.rois, dtype=np.float64)
        y = one.forward().copy()
        dy = self.rng.standard_normal(y.shape)
        expected, dx = np.zeros(y.shape), np.zeros(x.shape)
        for at in np.ndindex(y.shape):
            item, *corners = self.rois[at[0]].tolist()
            channel, share = weights(int(item), corners, *at[1:])
            expected[at] = (x[int(item), channel] * share).sum()
            dx[int(item), channel] += dy[at] * share
        np.testing.assert_allclose(y, expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(one.backward(dy), dx, rtol=1e-9, atol=1e-9)

    def window(self, edges: list[tuple[int, int]]) -> Any:
        """Ones at the positions of a bin that are there, whose first and last + 1 are given for rows and columns."""
        found = np.zeros(self.size)
        (top, bottom), (left, right) = ((max(0, a), max(0, b)) for a, b in edges)
        found[top:bottom, left:right] = 1
        return found


def bilinear(size: list[int], y: float, x: float, margin: int) -> Any:
    """The weights of the four positions around a point; none if it lies further outside than the margin says."""
    found = np.zeros(size)
    if any(not -margin <= v <= n - 1 + margin for v, n in zip((y, x), size, strict=True)):
        return found
    y, x = (min(max(v, 0), n - 1) for v, n in zip((y, x), size, strict=True))
    rows, columns = (np.maximum(0, 1 - abs(np.arange(n) - v)) for v, n in zip((y, x), size, strict=True))
    return found + rows[:, None] * columns


@SEEDS
def test_roi_pooling(seed: int) -> None:
    case = Case(seed)
    x = case.features(case.outputs)

    def weights(item: int, corners: list[float], channel: int, *at: int) -> Any:
        edges = []
        for k, bins in ((1, case.bins[0]), (0, case.bins[1])):
            first, last = nearest(corners[k] * case.scale), nearest(corners[k + 2] * case.scale)
            extent, step = max(last - first + 1, 1), at[1 - k]
            edges.append((first + step * extent // bins, first - (-(step + 1) * extent // bins)))
        inside = case.window(edges)
        best = inside * (x[item, channel] == np.where(inside, x[item, channel], -np.inf).max())
        return channel, best

    bins = f"pooled_h: {case.bins[0]} pooled_w: {case.bins[1]}"
    case.check(f'type: "ROIPooling" roi_pooling_param {{ {bins} spatial_scale: {case.scale} }}', x, weights)


@SEEDS
def test_roi_align(seed: int) -> None:
    case = Case(seed)
    ratio = int(case.rng.integers(4))

    def weights(item: int, corners: list[float], channel: int, *at: int) -> Any:
        points = []
        for k, bins in ((1, case.bins[0]), (0, case.bins[1])):
            start = corners[k] * case.scale
            step = max(corners[k + 2] * case.scale - start, 1) / bins
            count = ratio or math.ceil(step)
            # in this order, since a point may lie at the border itself
            points.append([start + at[1 - k] * step + (i + 0.5) * step / count for i in range(count)])
        shares = [bilinear(case.size, y, x, 1) for y in points[0] for x in points[1]]
        return channel, sum(shares) / len(shares)

    text = f"pooled_h: {case.bins[0]} pooled_w: {case.bins[1]} spatial_scale: {case.scale} sampling_ratio: {ratio}"
    case.check(f'type: "ROIAlign" roi_align_param {{ {text} }}', case.features(case.outputs), weights)


@SEEDS
@pytest.mark.parametrize("rounded", [True, False])
def test_position_sensitive(rounded: bool, seed: int) -> None:
    case = Case(seed)
    group = case.bins[0]

    def pooled(corners: list[float], *at: int) -> Any:
        edges = []
        for k in (1, 0):
            start, end = nearest(corners[k]) * case.scale, (nearest(corners[k + 2]) + 1) * case.scale
            step = max(end - start, 0.1) / group
            edges.append((math.floor(at[1 - k] * step + start), math.ceil((at[1 - k] + 1) * step + start)))
        inside = case.window(edges)
        return inside / max(1, inside.sum())

    def aligned(corners: list[float], *at: int) -> Any:
        starts = [corners[k] * case.scale for k in (1, 0)]
        steps = [(corners[k + 2] * case.scale - start) / group for k, start in zip((1, 0), starts, strict=True)]
        if min(steps) <= 0:
            return np.zeros(case.size)
        y, x = ([s + (i + q) * d for q in (0.25, 0.75)] for s, i, d in zip(starts, at, steps, strict=True))
        return sum(bilinear(case.size, a, b, 0) for a in y for b in x) / 4

    def weights(item: int, corners: list[float], output: int, i: int, j: int) -> Any:
        return (output * group + i) * group + j, (pooled if rounded else aligned)(corners, i, j)

    kind, field = ("PSROIPooling", "psroi_pooling_param") if rounded else ("PSROIAlign", "psroi_align_param")
    text = f"output_dim: {case.outputs} group_size: {group} spatial_scale: {case.scale}"
    case.check(f'type: "{kind}" {field} {{ {text} }}', case.features(case.outputs * group**2), weights)
