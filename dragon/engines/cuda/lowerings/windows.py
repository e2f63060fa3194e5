"""Windows as the kernels know them: over two spatial axes or three. One axis is the second of two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dragon.bases.geometry import Window

__all__ = ["MOST_AXES", "at_least_2d", "axes_of", "named", "spread_out", "window_sizes"]

MOST_AXES = 3


def axes_of(window: Window) -> int:
    """Spatial axes that the kernels work on."""
    return max(2, len(window.kernel))


def _lead(n_spatial: int, value: int) -> tuple[int, ...]:
    return (value,) * max(0, 2 - n_spatial)


def at_least_2d(window: Window) -> Window:
    """The same window over at least two axes."""
    n = len(window.kernel)
    ones, zeros = _lead(n, 1), _lead(n, 0)
    return Window(
        ones + window.kernel, ones + window.stride, zeros + window.before, zeros + window.after, ones + window.dilation
    )


def named(prefix: str, values: Sequence[int], axes: str = "dhw") -> dict[str, int]:
    """Values for the last axes as a kernel's arguments: prefix + "h", prefix + "w" and so on."""
    return {prefix + axis: value for axis, value in zip(axes[-len(values) :], values, strict=True)}


def window_sizes(window: Window, inside: Any, outside: Any) -> dict[str, int]:
    """The kernels' arguments for a window of at least two axes.

    inside, outside: the arrays (N, C, *size) over which it moves, and of its outputs.
    """
    sizes = zip(("depth", "height", "width")[-len(window.kernel) :], inside.shape[2:], strict=True)
    return {
        **dict(sizes), **named("out_", outside.shape[2:]), **named("kernel_", window.kernel),
        **named("stride_", window.stride), **named("pad_", window.before),
    }  # fmt: skip


def spread_out(array: Any, shape: Sequence[int]) -> Any:
    """`array` as (N, C, *size) with at least two spatial axes; `shape` is (N, C, *size)."""
    return array.reshape((*shape[:2], *_lead(len(shape) - 2, 1), *shape[2:]))
