"""Poolings: sizes that Caffe rounds up, averages with and without padding."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from dragon.bases.geometry import Window
from dragon.importing.context import Context
from dragon.importing.graph import Array, NoForm
from dragon.importing.registry import operator
from dragon.importing.windows import read_window, sides

Shape = tuple[int, ...]


@operator("MaxPool")
def max_pool(c: Context) -> None:
    """Pooling MAX; round_mode FLOOR where rounding up would give another size."""
    window, shape, out = _read(c)
    masked = c.node.has_output(1)
    if not masked:
        c.result(_pooled(c, window, shape, out, _maximum))
        return
    if not all(node.op == "MaxUnpool" for node in c.graph.readers(c.node.outputs[1])):
        raise NoForm("its indices count through the whole batch, those of Caffe's mask through one channel")
    if c.bvlc or len(window.kernel) != 2 or c.node.outputs[1] in c.graph.outputs.values():
        raise NoForm("its indices are read: Dragon's Upsample takes them, for two spatial axes")
    _maximum(c, c.blob(), window, shape[2:], out, tops=2)
    pooled, mask = c.last_tops()
    c.result(pooled)
    c.result(mask, 1)


@operator("MaxUnpool")
def max_unpool(c: Context) -> None:
    """Upsample with the mask of a MaxPool."""
    source = c.graph.producer(c.node.inputs[1])
    if source is None or source.op != "MaxPool" or c.node.has_input(2):
        raise NoForm("its indices are not those of a MaxPool, or it has an output_shape")
    height, width = c.output_shape()[2:]
    if (height, width) != c.graph.shapes[source.inputs[0]][2:]:
        raise NoForm("its output has another size than the input of the MaxPool, through which the indices count")
    settings = {"upsample_h": height, "upsample_w": width}
    c.result(c.layer("Upsample", [c.blob(0), c.blob(1)], upsample_param=settings))


@operator("AveragePool")
def average_pool(c: Context) -> None:
    """Pooling AVE; AVE_EXC_PAD where padding does not count, with --bvlc a Scale behind it instead."""
    window, shape, out = _read(c)
    counts = bool(c.node.integer("count_include_pad", 0)) or not any((*window.before, *window.after))
    c.result(_pooled(c, window, shape, out, partial(_mean, counts=counts)))


@operator("GlobalAveragePool")
def global_average_pool(c: Context) -> None:
    """Pooling AVE with global_pooling."""
    c.result(global_pool(c, c.blob(), c.shape(), "AVE"))


@operator("GlobalMaxPool")
def global_max_pool(c: Context) -> None:
    """Pooling MAX with global_pooling."""
    c.result(global_pool(c, c.blob(), c.shape(), "MAX"))


def global_pool(c: Context, blob: str, shape: Sequence[int], method: str) -> str:
    """The maximum or mean of each channel (N, C, ...), with the number of axes unchanged."""
    settings: dict[str, Any] = {"pool": method, "global_pooling": True}
    if len(shape) == 4 or (len(shape) > 2 and not c.bvlc):
        return c.layer("Pooling", blob, pooling_param=settings)
    flat = (*shape[:2], math.prod(shape[2:]), 1)
    found = c.layer("Pooling", c.reshape(blob, shape, flat, "plane"), pooling_param=settings)
    return c.reshape(found, (*shape[:2], 1, 1), (*shape[:2], *[1] * (len(shape) - 2)), "axes")


def _read(c: Context) -> tuple[Window, tuple[int, ...], tuple[int, ...]]:
    shape = c.shape()
    kernel = c.node.integers("kernel_shape")
    if not kernel:
        raise NoForm("it has no kernel_shape")
    window = read_window(c.node, kernel, shape[2:])
    if any(d != 1 for d in window.dilation):
        raise NoForm("its windows are dilated: Caffe's Pooling has no dilation")
    if any(p >= k for p, k in zip((*window.before, *window.after), window.kernel * 2, strict=True)):
        raise NoForm("its padding is as large as its kernel")
    return window, shape, c.output_shape()[2:]


def _pooled(c: Context, window: Window, shape: Shape, out: Shape, pool: Callable[..., str]) -> str:
    """Input 0, pooled by layers that `pool` writes. BVLC's Pooling has two spatial axes: of one it gets two.

    Of three, the last two come first, then the first: maxima are separable, and so are means over whole windows.
    """
    blob, extents = c.blob(), shape[2:]
    if len(out) == 1:
        plane = c.reshape(blob, shape, (*shape, 1), "plane")
        found = pool(c, plane, _of_axes(window, [0], 1), (*extents, 1), (*out, 1))
        return c.reshape(found, (*shape[:2], *out, 1), (*shape[:2], *out), "line")
    if len(out) == 2 or not c.bvlc:
        return pool(c, blob, window, extents, out)
    flat = (shape[0], shape[1] * extents[0], *extents[1:])
    found = pool(c, c.reshape(blob, shape, flat, "planes"), _of_axes(window, [1, 2]), extents[1:], out[1:])
    rest = math.prod(out[1:])
    found = c.reshape(found, (*flat[:2], *out[1:]), (*shape[:2], extents[0], rest), "depth")
    found = pool(c, found, _of_axes(window, [0], 1), (extents[0], rest), (out[0], rest))
    return c.reshape(found, (*shape[:2], out[0], rest), (*shape[:2], *out), "volume")


def _of_axes(window: Window, axes: Sequence[int], more: int = 0) -> Window:
    """The window along some axes, and `more` axes along which it has extent 1."""

    def of(values: Sequence[int], other: int) -> Shape:
        return (*(values[axis] for axis in axes), *[other] * more)

    return Window(
        of(window.kernel, 1), of(window.stride, 1), of(window.before, 0), of(window.after, 0), of(window.dilation, 1)
    )


def _maximum(c: Context, blob: str, window: Window, size: Shape, out: Shape, tops: int = 1) -> str:
    settings = {"pool": "MAX", **_place(c, window, size, out, exact=False)}
    return c.layer("Pooling", blob, tops=tops, pooling_param=settings)


def _mean(c: Context, blob: str, window: Window, size: Shape, out: Shape, counts: bool) -> str:
    placed = _place(c, window, size, out, exact=counts)
    exclude = not counts and not c.bvlc
    found = c.layer("Pooling", blob, pooling_param={"pool": "AVE_EXC_PAD" if exclude else "AVE", **placed})
    correction = None if exclude else _correction(window, size, out, placed, counts)
    if correction is None:
        return found
    return c.layer("Scale", found, arrays=[correction], scale_param={"axis": 2, "num_axes": correction.ndim})


def _place(c: Context, window: Window, size: Sequence[int], out: Sequence[int], exact: bool) -> dict[str, Any]:
    """Kernel, stride, padding and rounding of a Pooling that has the positions of the window.

    exact: padding behind the image counts; otherwise only the number of positions does.
    """
    kernel, stride, before, after = window.kernel, window.stride, window.before, window.after
    settings = sides("kernel_size", "kernel", kernel, None) | sides("stride", "stride", stride, 1)
    for mode in ({}, {"round_mode": "FLOOR"}):
        fits = _positions(size, kernel, stride, before, before, bool(mode)) == tuple(out)
        if fits and (not exact or c.bvlc or before == after):
            return settings | sides("pad", "pad", before, 0) | mode
    if len(kernel) != 2 or c.bvlc:
        raise NoForm(
            "its padding differs between two sides: BVLC's Pooling has one for both; leave out --bvlc"
            if c.bvlc
            else "its padding differs between two sides of 3 axes: Caffe's Pooling has that for 2"
        )
    pads = {"pad_t": before[0], "pad_b": after[0], "pad_l": before[1], "pad_r": after[1]}
    for mode in ({}, {"round_mode": "FLOOR"}):
        if _positions(size, kernel, stride, before, after, bool(mode)) == tuple(out):
            return settings | {name: value for name, value in pads.items() if value} | mode
    raise NoForm(f"an output of {tuple(out)} is no size that Caffe's Pooling has for an input of {tuple(size)}")


def _positions(
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
    floor: bool,
) -> tuple[int, ...]:
    """The number of windows by Caffe's rule: rounded up or down, without a last one that begins beyond the image."""
    found = []
    for n, k, s, b, a in zip(size, kernel, stride, before, after, strict=True):
        left = n + b + a - k
        count = (left // s if floor else -(-left // s)) + 1
        if b or a or any(before) or any(after):  # as in Caffe, which looks for it only if something is padded
            while count > 1 and (count - 1) * s >= n + b:
                count -= 1
        found.append(count)
    return tuple(found)


def _correction(
    window: Window, size: Sequence[int], out: Sequence[int], placed: dict[str, Any], counts: bool
) -> Array | None:
    """What each position of Caffe's average is to be multiplied by, to divide as ONNX does; None where nothing is."""
    by_axis = []
    sided = any(name in placed for name in ("pad_t", "pad_b", "pad_l", "pad_r"))
    for n, k, s, b, a, count in zip(size, window.kernel, window.stride, window.before, window.after, out, strict=False):
        starts = np.arange(count) * s - b
        behind = a if sided else b
        mine = np.minimum(starts + k, n + behind) - starts
        inside = np.minimum(starts + k, n) - np.maximum(starts, 0)
        theirs = np.minimum(starts + k, n + a) - starts if counts else inside
        by_axis.append(mine / theirs)
    if all((ratio == 1).all() for ratio in by_axis):
        return None
    found = by_axis[0]
    for ratio in by_axis[1:]:
        found = found[..., None] * ratio
    return np.asarray(found)
