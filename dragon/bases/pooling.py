"""Arithmetic of pooling, one spatial axis after another: k steps for each axis rather than k * k slices.

x is (N, C, *size), y (N, C, *positions). A tap is one element of the window along an axis: a slice of the positions
where it lies on the image, and the slice of the elements that it reads there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from dragon.bases.geometry import Window
from dragon.memory.scratch import Scratch
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = [
    "average",
    "average_backward",
    "divisors",
    "maximum",
    "maximum_backward",
    "maximum_index",
]

_Tap = tuple[slice, slice]


def _taps(window: Window, axis: int, size: int, count: int) -> list[_Tap]:
    taps = []
    k, s, before = window.kernel[axis], window.stride[axis], window.before[axis]
    # of a window larger than the image, only the elements that lie on the image at some position
    for j in range(max(0, before - s * (count - 1)), min(k, size + before)):
        low = max(0, -(-(before - j) // s))
        high = min(count, (size - 1 + before - j) // s + 1)
        if low < high:
            first = j + s * low - before
            taps.append((slice(low, high), slice(first, first + s * (high - low - 1) + 1, s)))
    return taps


def _at(axis: int, where: slice) -> tuple[slice, ...]:
    return (slice(None),) * axis + (where,)


def divisors(window: Window, counted: Sequence[tuple[int, int]], count: Sequence[int]) -> list[list[int]]:
    """For each axis and position, how many counted elements the window has.

    counted: for each axis the first counted position and one past the last. count: positions of each axis.
    """
    each = zip(window.kernel, window.stride, window.before, counted, count, strict=True)
    return [
        [min(i * s - before + k, end) - max(i * s - before, first) for i in range(c)]
        for k, s, before, (first, end), c in each
    ]


def maximum(x: Array, window: Window, out: Array, stages: Sequence[Array]) -> None:
    """Write the maxima of the windows to `out`.

    stages: buffers for the maxima over the last axis, the last two, ..., all but the first.
    """
    xp = xp_of(x)
    for axis, target in zip(range(x.ndim - 1, 1, -1), (*stages, out), strict=True):
        taps = _taps(window, axis - 2, x.shape[axis], out.shape[axis])
        everywhere = slice(0, out.shape[axis])
        whole = next((tap for tap in taps if tap[0] == everywhere), None)
        if whole is None:
            target[...] = -xp.inf
        else:
            target[...] = x[_at(axis, whole[1])]
        for tap in taps:
            if tap is not whole:
                place = target[_at(axis, tap[0])]
                xp.maximum(place, x[_at(axis, tap[1])], out=place)
        x = target


def maximum_backward(
    x: Array, stages: Sequence[Array], maxima: Array, dy: Array, window: Window, out: Array, scratch: Scratch
) -> None:
    """Write dx to `out`: the gradient of a window goes to its first maximum, in row-major order.

    stages, maxima: what `maximum` wrote. NaN counts as greater than every number.
    """
    xp = xp_of(x)
    finite = math.isfinite(float(maxima.sum()) + float(dy.sum()))  # else 0 times a value may be NaN
    sources = [*reversed(stages), x]
    for axis, source in enumerate(sources, start=2):
        target = out if source is x else scratch.get(f"dmax{axis}", source.shape, dy)
        target[...] = 0
        rest = scratch.get(f"rest{axis}", dy.shape, dy)
        rest[...] = dy
        for there, here in _taps(window, axis - 2, source.shape[axis], maxima.shape[axis]):
            left = rest[_at(axis, there)]
            value, most = source[_at(axis, here)], maxima[_at(axis, there)]
            hit = value == most
            share = scratch.get("share", left.shape, dy)
            place = target[_at(axis, here)]
            if finite:
                xp.multiply(left, hit, out=share)
                place += share
                left -= share
                continue
            hit |= xp.isnan(value) & xp.isnan(most)
            share[...] = xp.where(hit, left, 0)
            place += share
            left[...] = xp.where(hit, 0, left)
        dy, maxima = target, source


def maximum_index(x: Array, window: Window, out: Array) -> None:
    """Write the index of each window's first maximum within the image to `out`, in its dtype."""
    xp = xp_of(x)
    maxima = xp.full(out.shape, -xp.inf, x.dtype)
    index = xp.arange(int(np.prod(x.shape[2:]))).reshape(x.shape[2:])
    out[...] = 0
    axes = [_taps(window, axis, n, c) for axis, (n, c) in enumerate(zip(x.shape[2:], out.shape[2:], strict=True))]
    for combination in itertools.product(*axes):
        there = (slice(None), slice(None), *(tap[0] for tap in combination))
        here = tuple(tap[1] for tap in combination)
        value, known = x[(slice(None), slice(None), *here)], maxima[there]
        better = value > known
        known[...] = xp.where(better, value, known)
        out[there] = xp.where(better, index[here], out[there])


def average(x: Array, window: Window, factor: Array | np.generic, out: Array, scratch: Scratch) -> None:
    """Write the sums of the windows times `factor` (*positions) to `out`."""
    for axis in range(x.ndim - 1, 1, -1):
        shape = (*x.shape[:axis], *out.shape[axis:])
        target = out if axis == 2 else scratch.get(f"sum{axis}", shape, x)
        target[...] = 0
        for there, here in _taps(window, axis - 2, x.shape[axis], out.shape[axis]):
            place = target[_at(axis, there)]
            place += x[_at(axis, here)]
        x = target
    out *= factor


def average_backward(dy: Array, window: Window, factor: Array, out: Array, scratch: Scratch) -> None:
    """Write dx to `out`: the gradient of each position, times `factor`, goes to all elements of its window."""
    positions = dy.shape
    share = scratch.get("share", dy.shape, dy)
    xp_of(dy).multiply(dy, factor, out=share)
    for axis in range(2, out.ndim):
        shape = (*out.shape[: axis + 1], *positions[axis + 1 :])
        target = out if axis == out.ndim - 1 else scratch.get(f"dsum{axis}", shape, dy)
        target[...] = 0
        for there, here in _taps(window, axis - 2, out.shape[axis], positions[axis]):
            place = target[_at(axis, here)]
            place += share[_at(axis, there)]
        share = target
