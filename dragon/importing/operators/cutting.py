"""Parts of a value, and borders around it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, cast

import numpy as np

from dragon.counting import how_many
from dragon.importing.context import Context
from dragon.importing.graph import NoForm
from dragon.importing.operators.convolution import copying_convolution
from dragon.importing.operators.linear import matrix_along
from dragon.importing.registry import operator

__all__ = ["cut"]


@operator("Split")
def split(c: Context) -> None:
    """Slice."""
    shape = c.shape()
    axis = c.axis(c.node.integer("axis", 0))
    sizes = c.list_of("split", 1)
    if sizes is None:
        count = c.node.integer("num_outputs", len(c.node.outputs))
        each = -(-shape[axis] // count)
        sizes = tuple(min(each, shape[axis] - k * each) for k in range(count))
    if min(sizes, default=0) < 1 or sum(sizes) != shape[axis] or len(sizes) != len(c.node.outputs):
        outputs = how_many(len(c.node.outputs), "output")
        raise NoForm(f"its parts {sizes} do not divide an axis of {shape[axis]} into the node's {outputs}")
    if len(sizes) == 1:
        c.result(c.blob())
        return
    settings: dict[str, object] = {} if axis == 1 else {"axis": axis}
    points = [int(v) for v in np.cumsum(sizes)[:-1]]
    c.layer("Slice", c.blob(), tops=len(sizes), slice_param={**settings, "slice_point": points})
    for k, top in enumerate(c.last_tops()):
        c.result(top, k)


@operator("Slice")
def slice_(c: Context) -> None:
    """Slice; Pooling with a kernel of 1 for steps, Reverse for steps backwards, with --bvlc Slice and Concat."""
    starts, ends = c.list_of("starts", 1), c.list_of("ends", 2)
    if starts is None or ends is None:
        raise NoForm("it has no starts or no ends")
    axes = c.list_of("axes", 3) or tuple(range(len(starts)))
    steps = c.list_of("steps", 4) or (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise NoForm("its starts, ends, axes and steps have different lengths")
    blob, shape = c.blob(), list(c.shape())
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = c.axis(axis)
        if step == 0:
            raise NoForm("it has a step of 0")
        part = range(*slice(start, end if end > -(1 << 62) else None, step).indices(shape[axis]))
        if not part:
            raise NoForm("nothing is left of its input")
        first, last = sorted((part[0], part[-1]))
        blob = cut(c, blob, shape, axis, first, last + 1, abs(step))
        shape[axis] = len(part)
        if step < 0 and len(part) > 1:
            blob = c.reverse(blob, axis, len(part), "reverse")
    c.result(blob)


def cut(c: Context, blob: str, shape: Sequence[int], axis: int, start: int, end: int, step: int = 1) -> str:
    """The elements from `start` to before `end` on an axis, every step-th of them."""
    points = [point for point in (start, end) if 0 < point < shape[axis]]
    if points:
        settings: dict[str, object] = {} if axis == 1 else {"axis": axis}
        c.layer("Slice", blob, f"slice{axis}", tops=len(points) + 1, slice_param={**settings, "slice_point": points})
        blob = c.last_tops()[1 if start > 0 else 0]
    size = end - start
    if step == 1 or size == 1:
        return blob
    count = (size - 1) // step + 1
    if (count - 1) * step + 1 != size:  # what lies behind the last one could be a window too
        smaller = [*shape[:axis], size, *shape[axis + 1 :]]
        return cut(c, blob, smaller, axis, 0, (count - 1) * step + 1, step)
    old = [*shape[:axis], size, *shape[axis + 1 :]]
    plane = [math.prod(shape[:axis]), 1, size, math.prod(shape[axis + 1 :])]
    picked = c.layer(
        "Pooling",
        c.reshape(blob, old, plane, f"plane{axis}"),
        f"step{axis}",
        pooling_param={"pool": "MAX", "kernel_size": 1, "stride_h": step, "stride_w": 1},
    )
    return c.reshape(picked, [*plane[:2], count, plane[3]], [*shape[:axis], count, *shape[axis + 1 :]], f"axes{axis}")


@operator("Gather")
def gather(c: Context) -> None:
    """Slice for constant indices at equal steps, a Convolution that copies for others; Embed for a constant matrix."""
    table, indices = c.constant(0), c.constant(1)
    if table is not None and indices is None:
        if c.node.integer("axis", 0) != 0 or table.ndim != 2:
            raise NoForm("it takes computed indices from a constant that is not a matrix, or not along its rows")
        settings = {"num_output": table.shape[1], "input_dim": table.shape[0], "bias_term": False}
        c.result(c.layer("Embed", c.blob(1), arrays=[table], embed_param=settings))
        return
    if indices is None:
        raise NoForm("its indices are computed by the net: end the model before it")
    shape = c.shape()
    axis = c.axis(c.node.integer("axis", 0))
    wanted = indices.reshape(-1) % max(1, shape[axis])
    steps = np.diff(wanted)
    if not wanted.size:
        raise NoForm("nothing is left of its input")
    if steps.size and (steps[0] < 1 or not (steps == steps[0]).all()):
        part = matrix_along(c, c.blob(), shape, axis, np.eye(shape[axis])[wanted], "pick")
    else:
        part = cut(c, c.blob(), shape, axis, int(wanted[0]), int(wanted[-1]) + 1, int(steps[0]) if steps.size else 1)
    c.result(c.reshape(part, (*shape[:axis], wanted.size, *shape[axis + 1 :]), c.output_shape()))


@operator("GatherND")
def gather_nd(c: Context) -> None:
    """A Convolution that copies, for constant indices."""
    shape, indices = c.shape(), c.needed_constant(1, "list of indices")
    count = indices.shape[-1] if indices.ndim else 0
    if c.node.integer("batch_dims", 0) or not 0 < count <= len(shape):
        raise NoForm("it counts its indices for each item, or has none")
    extents = shape[:count]
    flat = np.ravel_multi_index(tuple(np.moveaxis(indices.reshape(-1, count) % extents, 1, 0)), extents)
    rows = (1, math.prod(extents), math.prod(shape[count:]), 1)
    matrix = np.eye(rows[1], dtype=np.float32)[flat]
    picked = matrix_along(c, c.reshape(c.blob(), shape, rows, "rows"), rows, 1, matrix, "pick")
    c.result(c.reshape(picked, (1, len(flat), *rows[2:]), c.output_shape(), "shape"))


@operator("Pad")
def pad(c: Context) -> None:
    """Pad, for two spatial axes; else, and with --bvlc, layers with weights that copy; Slice for negative pads."""
    shape, rank = c.shape(), len(c.shape())
    pads = c.list_of("pads", 1) or c.node.integers("paddings") or ()
    axes = c.list_of("axes", 3)
    if axes is not None:
        chosen = [axis % rank for axis in axes]
        full = [0] * (2 * rank)
        for k, axis in enumerate(chosen):
            full[axis], full[rank + axis] = pads[k], pads[len(chosen) + k]
        pads = tuple(full)
    if len(pads) != 2 * rank:
        raise NoForm(f"it has {how_many(len(pads), 'pad')} for {how_many(rank, 'axis')}")
    mode, value = c.node.text("mode", "constant"), c.scalar_of("value", 2, 0.0)
    before, after = list(pads[:rank]), list(pads[rank:])
    blob, size = c.blob(), list(shape)
    for axis in range(rank):
        start, end = max(0, -before[axis]), size[axis] - max(0, -after[axis])
        if end <= start:
            raise NoForm("nothing is left of its input")
        blob, size[axis] = cut(c, blob, size, axis, start, end), end - start
        before[axis], after[axis] = max(0, before[axis]), max(0, after[axis])
    if not any((*before, *after)):
        c.result(blob)
        return
    if before[0] or after[0]:
        raise NoForm("it pads the batch")
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise NoForm(f"its mode {mode} is not known")
    if rank == 4 and not c.bvlc and mode != "wrap" and not (before[1] or after[1]):
        sides = {"pad_t": before[2], "pad_b": after[2], "pad_l": before[3], "pad_r": after[3]}
        settings: dict[str, object] = {name: width for name, width in sides.items() if width}
        settings |= {} if mode == "constant" else {"mode": mode.upper()}
        settings |= {"value": value} if value and mode == "constant" else {}
        c.result(c.layer("Pad", blob, pad_param=settings))
        return
    if mode != "constant":
        for axis in range(1, rank):
            places = np.pad(
                np.arange(size[axis]),
                (before[axis], after[axis]),
                mode=cast("Literal['reflect', 'edge', 'wrap']", mode),
            )
            if len(places) != size[axis]:
                matrix = np.eye(size[axis])[places]
                blob, size[axis] = matrix_along(c, blob, size, axis, matrix, "pad"), len(places)
        c.result(blob)
        return
    blob = c.linear(blob, shift=-value, suffix="less_value")
    if rank > 2:
        blob = copying_convolution(c, blob, size[1], before[1:], after[1:])
    else:
        blob = matrix_along(c, blob, size, 1, np.pad(np.eye(size[1]), ((before[1], after[1]), (0, 0))), "pad")
    c.result(c.linear(blob, shift=value, suffix="value"))
