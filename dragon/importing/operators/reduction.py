"""Sums, means and extremes along axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dragon.importing.context import Context
from dragon.importing.graph import NoForm
from dragon.importing.operators.convolution import convolution_settings
from dragon.importing.operators.pooling import global_pool
from dragon.importing.registry import operator


@operator("ReduceMean")
def reduce_mean(c: Context) -> None:
    """Pooling AVE with global_pooling for the spatial axes, Reduction MEAN for the last ones, else a Convolution."""
    axes = _axes(c)
    shape = c.shape()
    if len(shape) == 4 and axes == [2, 3]:
        pooled = global_pool(c, c.blob(), shape, "AVE")
        c.result(c.reshape(pooled, (*shape[:2], 1, 1), c.output_shape()))
    else:
        c.result(_reduced(c, axes, "MEAN"))


@operator("ReduceSum")
def reduce_sum(c: Context) -> None:
    """Reduction SUM for the last axes; a Convolution to one channel for others."""
    c.result(_reduced(c, _axes(c), "SUM"))


@operator("ReduceL1")
def reduce_l1(c: Context) -> None:
    """Reduction ASUM; AbsVal and a Convolution for others than the last axes."""
    c.result(_reduced(c, _axes(c), "ASUM"))


@operator("ReduceSumSquare")
def reduce_sum_of_squares(c: Context) -> None:
    """Reduction SUMSQ; Power and a Convolution for others than the last axes."""
    c.result(_reduced(c, _axes(c), "SUMSQ"))


@operator("ReduceL2")
def reduce_l2(c: Context) -> None:
    """As ReduceSumSquare, and Power."""
    c.result(c.linear(_reduced(c, _axes(c), "SUMSQ"), power=0.5))


@operator("ReduceMax")
def reduce_max(c: Context) -> None:
    """Pooling MAX, with global_pooling for the spatial axes."""
    c.result(_largest(c, c.blob()))


@operator("ReduceMin")
def reduce_min(c: Context) -> None:
    """Pooling MAX between two Power with -1."""
    c.result(c.linear(_largest(c, c.linear(c.blob(), -1, suffix="sign")), -1, suffix="min"))


@operator("ArgMax")
def arg_max(c: Context) -> None:
    """ArgMax; where values are equal Caffe takes the last of them."""
    axis = c.axis(c.node.integer("axis", 0))
    shape = c.shape()
    found = c.layer("ArgMax", c.blob(), argmax_param={"axis": axis})
    c.result(c.reshape(found, (*shape[:axis], 1, *shape[axis + 1 :]), c.output_shape()))


def _axes(c: Context) -> list[int]:
    """The axes to be reduced, in order; all where none are named."""
    axes = c.list_of("axes", 1)
    rank = len(c.shape())
    if not axes:
        return [] if axes is not None and c.node.integer("noop_with_empty_axes", 0) else list(range(rank))
    return sorted({c.axis(axis) for axis in axes})


def _to_the_end(c: Context, blob: str, axes: Sequence[int]) -> tuple[str, tuple[int, ...]]:
    """The blob with the axes behind the others, and the extents of the others."""
    shape = c.shape()
    others = [axis for axis in range(len(shape)) if axis not in axes]
    return c.permute(blob, shape, [*others, *axes]), tuple(shape[axis] for axis in others)


def _block(shape: Sequence[int], axes: Sequence[int]) -> tuple[int, int, int] | None:
    """The values before, in and behind the axes, where these stand together and others of extent above 1 behind."""
    first, last = axes[0], axes[-1] + 1
    if any(shape[axis] != 1 for axis in range(first, last) if axis not in axes):
        return None
    inner = math.prod(shape[last:])
    return (math.prod(shape[:first]), math.prod(shape[first:last]), inner) if inner > 1 else None


def _reduced(c: Context, axes: Sequence[int], operation: str) -> str:
    if not axes:
        raise NoForm("it reduces no axis")
    block = _block(c.shape(), axes)
    if block is not None:
        return _summed_by_convolution(c, axes, block, operation)
    blob, kept = _to_the_end(c, c.blob(), axes)
    settings = {"operation": operation} | ({"axis": len(kept)} if kept else {})
    return c.reshape(c.layer("Reduction", blob, reduction_param=settings), kept, c.output_shape())


def _summed_by_convolution(c: Context, axes: Sequence[int], block: tuple[int, int, int], operation: str) -> str:
    """Sums over axes before others: a Convolution to one channel, since Caffe's Reduction takes the last axes alone."""
    shape, (outer, count, inner) = c.shape(), block
    blob = c.blob()
    if operation == "SUMSQ":
        blob = c.linear(blob, power=2, suffix="square")
    elif operation == "ASUM":
        blob = c.layer("AbsVal", blob)
    rows = tuple(shape) if len(shape) == 4 and list(axes) == [1] else (outer, count, inner, 1)
    weight = np.full((1, count, 1, 1), 1 / count if operation == "MEAN" else 1)
    ones = [1, 1]
    settings = {**convolution_settings(1, ones, ones, [0, 0], ones, 1), "bias_term": False}
    summed = c.layer("Convolution", c.reshape(blob, shape, rows, "rows"), arrays=[weight], convolution_param=settings)
    return c.reshape(summed, (rows[0], 1, *rows[2:]), c.output_shape(), "axes")


def _largest(c: Context, blob: str) -> str:
    axes, shape = _axes(c), c.shape()
    if not axes:
        raise NoForm("it reduces no axis")
    block = _block(shape, axes)
    if block is not None:
        outer, count, inner = block
        column = c.reshape(blob, shape, (outer, 1, count, inner), "columns")
        window = {"pool": "MAX", "kernel_h": count, "kernel_w": 1}
        return c.reshape(
            c.layer("Pooling", column, pooling_param=window), (outer, 1, 1, inner), c.output_shape(), "axes"
        )
    blob, kept = _to_the_end(c, blob, axes)
    count = math.prod(shape[axis] for axis in axes)
    turned = (*kept, *(shape[axis] for axis in axes))
    rows = (kept[0] if kept else 1, math.prod(kept[1:]), count, 1)
    pooled = global_pool(c, c.reshape(blob, turned, rows, "rows"), rows, "MAX")
    return c.reshape(pooled, (*rows[:2], 1, 1), c.output_shape(), "axes")
