"""MalisLoss against the affinity of each pair of voxels, found by trying all paths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dragon.errors import DataError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

CATALOGUE = {"MalisLoss": [("", ((2, 2, 3, 4), "affinities", "segments"))]}
RNG = np.random.default_rng(5)
SHAPES = {"X": (2, 1, 6), "YX": (2, 2, 3, 4), "ZYX": (1, 3, 2, 3, 3)}


def segments_of(shape: tuple[int, ...], channels: int = 1) -> Any:
    return RNG.integers(0, 3, (shape[0], channels, *shape[2:])).astype(float)


def affinities(shape: tuple[int, ...]) -> tuple[Any, Any]:
    return RNG.uniform(0.05, 0.95, shape), RNG.integers(0, 2, shape).astype(float)


def maximin(affinity: Any, steps: Any) -> Any:
    """The strongest weakest edge between all pairs of voxels (Floyd and Warshall); 0 where there is no path."""
    size = affinity.shape[1:]
    index = np.arange(np.prod(size)).reshape(size)
    best = np.full((index.size, index.size), -np.inf)
    for e, step in enumerate(steps):
        for at in np.ndindex(*size):
            end = tuple(a + s for a, s in zip(at, step, strict=True))
            if all(a < max(n - 1, 1) for a, n in zip(at, size, strict=True)) and all(
                0 <= b < n for b, n in zip(end, size, strict=True)
            ):
                i, j = index[at], index[end]
                best[i, j] = best[j, i] = max(best[i, j], affinity[(e, *at)])
    for k in range(index.size):
        best = np.maximum(best, np.minimum(best[:, k : k + 1], best[k : k + 1]))
    return best


def expected(predicted: Any, true: Any, segments: Any, steps: Any) -> float:
    total = 0.0
    for item in range(len(predicted)):
        for same in (False, True):
            labels = segments[item, -1 if same else 0].ravel()
            best = maximin((np.minimum if same else np.maximum)(predicted[item], true[item]), steps)
            losses, count = 0.0, 0
            for i in range(len(labels)):
                for j in range(i):
                    if labels[i] and labels[j] and (labels[i] == labels[j]) == same:
                        count += 1
                        if np.isfinite(best[i, j]):  # voxels without a path cost nothing
                            losses += (1 - best[i, j]) ** 2 if same else best[i, j] ** 2
            total += losses / max(1, count) / 2
    return total / len(predicted)


@pytest.mark.parametrize("axes", SHAPES)
@pytest.mark.parametrize("channels", [1, 2])
def test_values(axes: str, channels: int) -> None:
    shape = SHAPES[axes]
    (predicted, true), segments = affinities(shape), segments_of(shape, channels)
    one = One('type: "MalisLoss"', predicted, true, segments, dtype=np.float64)
    assert float(one.forward()) == pytest.approx(expected(predicted, true, segments, np.eye(len(axes), dtype=int)))


def test_edges_of_ones_own() -> None:
    shape = (1, 2, 3, 4)
    (predicted, true), segments = affinities(shape), segments_of(shape)
    steps = np.array([[0, 1, 1], [0, 0, -1]])
    one = One('type: "MalisLoss"', predicted, true, segments, steps, dtype=np.float64)
    assert float(one.forward()) == pytest.approx(expected(predicted, true, segments, steps[:, 1:]))


@pytest.mark.parametrize("axes", SHAPES)
def test_gradient(axes: str) -> None:
    shape = SHAPES[axes]
    predicted, true = affinities(shape)
    check_gradient('type: "MalisLoss"', [predicted, true, segments_of(shape)])


def test_a_perfect_segmentation_costs_nothing() -> None:
    segments = np.array([[[[1, 1, 2], [1, 1, 0], [0, 0, 0]]]], float)
    true = np.zeros((1, 2, 3, 3))
    true[0, 0, :1, :2] = true[0, 1, :2, :1] = 1
    one = One('type: "MalisLoss"', true, true, segments, dtype=np.float64)
    assert float(one.forward()) == 0
    assert float(one.forward(true * 0.5, true, segments)) > 0


def test_without_segments_there_is_no_loss() -> None:
    predicted, true = affinities((1, 2, 3, 3))
    one = One('type: "MalisLoss"', predicted, true, np.zeros((1, 1, 3, 3)), dtype=np.float64)
    assert float(one.forward()) == 0
    one.top[0].diff[...] = 1
    one.layer.backward(one.top, [True, False, False], one.bottom)
    assert not one.bottom[0].diff.any()


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(1, 2), (1, 2), (1, 1)], r"needs affinities \(N, edges, \[Z, \[Y,\]\] X\), got shape \(1, 2\)"),
        ([(1, 2, 3, 3), (1, 1, 3, 3), (1, 1, 3, 3)], "predicted and true affinities must have one shape"),
        ([(1, 2, 3, 3), (1, 2, 3, 3), (1, 3, 3, 3)], r"needs segments \(N, 1 or 2, \.\.\.\)"),
        ([(1, 2, 3, 3), (1, 2, 3, 3), (1, 1, 3, 3), (2, 2)], r"needs edges of shape \(2, 3\), got \(2, 2\)"),
        ([(1, 4, 3, 3), (1, 4, 3, 3), (1, 1, 3, 3)], "needs a bottom with 4 edges; without it there are at most 3"),
    ],
)
def test_messages(shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        One('type: "MalisLoss"', *map(np.zeros, shapes))


def test_an_edge_without_distance() -> None:
    one = One('type: "MalisLoss"', *[np.zeros((1, 1, 3, 3))] * 3, np.zeros((1, 3)))
    with pytest.raises(DataError, match="edge 0 has no distance"):
        one.forward()
