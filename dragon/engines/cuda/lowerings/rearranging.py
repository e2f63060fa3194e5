"""Layers that only copy values, by strided.cu, and layers whose tops share the memory of their bottoms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dragon.bases.layer import Layer
from dragon.engines.cuda.kernels import strided as kernels
from dragon.engines.cuda.lowerings.lowering import Lowering, lowers
from dragon.memory.blob import Blob

__all__ = ["AXES", "Strided", "copy", "fill", "numbered", "strides_of"]

AXES = 6  # most axes that copy_strided takes


def strides_of(shape: Sequence[int]) -> tuple[int, ...]:
    """Of a contiguous array, in elements."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


@dataclass(frozen=True)
class Strided:
    """A copy of prod(shape) elements between arrays of different strides.

    Element y_start + i y[0] + j y[1] + ... of y becomes element x_start + i x[0] + j x[1] + ... of x, for each index
    (i, j, ...) of `shape`. x, y: strides in elements.
    """

    shape: tuple[int, ...]
    x: tuple[int, ...]
    y: tuple[int, ...]
    x_start: int = 0
    y_start: int = 0

    @property
    def reverse(self) -> Strided:
        """The copy from y to x."""
        return Strided(self.shape, self.y, self.x, self.y_start, self.x_start)

    @property
    def merged(self) -> Strided:
        """The same copy over as few axes as possible."""
        axes: list[tuple[int, int, int]] = []
        for n, x, y in zip(self.shape, self.x, self.y, strict=True):
            if n == 1:
                continue
            if axes and axes[-1][1:] == (x * n, y * n):
                axes[-1] = (axes[-1][0] * n, x, y)
            else:
                axes.append((n, x, y))
        shape, xs, ys = (tuple(part) for part in zip(*axes, strict=True)) if axes else ((), (), ())
        return Strided(shape, xs, ys, self.x_start, self.y_start)


def copy(lowering: Lowering, plan: Strided, x: Any, y: Any) -> None:
    """Launch a copy, which when merged must have at most AXES axes."""
    plan = plan.merged
    count = math.prod(plan.shape)
    if not plan.shape or (len(plan.shape) <= 2 and plan.x[-1] == plan.y[-1] == 1):
        row = plan.shape[-1] if plan.shape else 1
        outer = (plan.x[0], plan.y[0]) if len(plan.shape) == 2 else (0, 0)
        lanes = 16 // x.dtype.itemsize
        sizes = {"row": row, "x_row": outer[0], "y_row": outer[1], "x_start": plan.x_start, "y_start": plan.y_start}
        vectors = all(size % lanes == 0 for size in sizes.values()) and x.data.ptr % 16 == 0 and y.data.ptr % 16 == 0
        lowering.launch(kernels.copy_rows, x=x, y=y, count=count, vectors=vectors, **sizes)
        return
    lead = AXES - len(plan.shape)
    shape = (1,) * lead + plan.shape
    zeros = (0,) * lead
    lowering.launch(
        kernels.copy_strided, x=x, y=y, count=count, **numbered("n", shape[1:], 1), **numbered("x", zeros + plan.x),
        **numbered("y", zeros + plan.y), x_start=plan.x_start, y_start=plan.y_start,
    )  # fmt: skip


def numbered(prefix: str, values: Sequence[int], first: int = 0) -> dict[str, int]:
    """Values as a kernel's arguments prefix0, prefix1 and so on, counted from `first`."""
    return {f"{prefix}{i}": value for i, value in enumerate(values, first)}


def fill(lowering: Lowering, y: Any, value: float = 0.0) -> None:
    """Set every element of y to `value`."""
    lowering.launch(kernels.fill, y=y, count=y.size, value=value)


@lowers("Flatten", "Reshape", "Squeeze", "Parameter")
class SharedLowering(Lowering):
    """Layers whose tops share the memory of their bottom, or of a learned blob: there is nothing to compute."""

    half = True
    shares = True

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Nothing moves."""

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Nothing moves."""


@lowers("Silence")
class SilenceLowering(SharedLowering):
    """Silence: its bottoms have a gradient of 0."""

    any_layout = True

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        for blob, wanted in zip(bottom, propagate_down, strict=True):
            if wanted:
                fill(self, blob.diff)


class _Moved(Lowering):
    """A layer whose forward is one strided copy, and whose backward is its reverse."""

    half = True
    one_type = True

    @classmethod
    def takes(cls, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return len(cls.plan(layer, bottom[0].shape, top[0].shape).merged.shape) <= AXES

    @staticmethod
    def plan(layer: Any, x: tuple[int, ...], y: tuple[int, ...]) -> Strided:
        """The copy from a bottom of shape x to a top of shape y."""
        raise NotImplementedError

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        copy(self, self.plan(self.layer, bottom[0].shape, top[0].shape), bottom[0].data, top[0].data)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            plan = self.plan(self.layer, bottom[0].shape, top[0].shape)
            copy(self, plan.reverse, top[0].diff, bottom[0].diff)


@lowers("Permute", "Reorg", "ShuffleChannel", "Transpose")
class RearrangingLowering(_Moved):
    """Layers that derive from Rearranging: the axes of the bottom, as `view` has them, in another order."""

    @staticmethod
    def plan(layer: Any, x: tuple[int, ...], y: tuple[int, ...]) -> Strided:
        strides = strides_of(layer.view)
        return Strided(layer.moved, tuple(strides[axis] for axis in layer.order), strides_of(layer.moved))


@lowers("Flip", "Reverse")
class ReverseLowering(_Moved):
    """Reverse and Flip: axes backwards, by negative strides."""

    @staticmethod
    def plan(layer: Any, x: tuple[int, ...], y: tuple[int, ...]) -> Strided:
        strides = strides_of(x)
        start = sum((x[axis] - 1) * strides[axis] for axis in layer.axes)
        turned = tuple(-stride if axis in layer.axes else stride for axis, stride in enumerate(strides))
        return Strided(x, turned, strides, start)


@lowers("Crop", "CropCenter")
class CropLowering(_Moved):
    """Crop and CropCenter: a block of bottom 0."""

    @staticmethod
    def plan(layer: Any, x: tuple[int, ...], y: tuple[int, ...]) -> Strided:
        strides = strides_of(x)
        start = sum((part.start or 0) * stride for part, stride in zip(layer.window, strides, strict=True))
        return Strided(y, strides, strides_of(y), start)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            fill(self, bottom[0].diff)
        super().backward(top, propagate_down, bottom)
        for blob, wanted in zip(bottom[1:], propagate_down[1:], strict=True):
            if wanted:
                fill(self, blob.diff)  # only its size counts


@lowers("Tile")
class TileLowering(_Moved):
    """Tile: the bottom repeated along an axis; backward sums over the repetitions."""

    @staticmethod
    def plan(layer: Any, x: tuple[int, ...], y: tuple[int, ...]) -> Strided:
        shape = (layer.outer, layer.tiles, layer.inner)
        return Strided(shape, (layer.inner, 0, 1), strides_of(shape))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            dx = bottom[0].diff
            tiles, inner = self.layer.tiles, self.layer.inner
            self.launch(kernels.sum_tiles, dy=top[0].diff, dx=dx, count=dx.size, tiles=tiles, inner=inner)
