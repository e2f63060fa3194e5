"""Windows as the kernels know them: over two spatial axes or three. One axis is the second of two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dragon.bases.geometry import Window

__all__ = ["MOST_AXES", "axes_of", "spread_out", "widened"]

MOST_AXES = 3


def axes_of(window: Window) -> int:
    """Spatial axes that the kernels work on."""
    return max(2, len(window.kernel))


def _lead(n_spatial: int, value: int) -> tuple[int, ...]:
    return (value,) * max(0, 2 - n_spatial)


def widened(window: Window) -> Window:
    """The same window over at least two axes."""
    n = len(window.kernel)
    ones, zeros = _lead(n, 1), _lead(n, 0)
    return Window(
        ones + window.kernel, ones + window.stride, zeros + window.before, zeros + window.after, ones + window.dilation
    )


def spread_out(array: Any, shape: Sequence[int]) -> Any:
    """`array` as (N, C, *size) with at least two spatial axes; `shape` is (N, C, *size)."""
    return array.reshape((*shape[:2], *_lead(len(shape) - 2, 1), *shape[2:]))
