"""Concat and Slice, by strided.cu."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from dragon.engines.cuda.lowerings.lowering import Lowering, lowers
from dragon.engines.cuda.lowerings.rearranging import Strided, copy
from dragon.memory.blob import Blob

__all__ = ["ConcatLowering", "SliceLowering", "pieces"]


LAST = (0, 3, 1, 2)  # where each axis of (N, C, H, W) lies in (N, H, W, C)


def _pieces(lowering: Lowering, whole: Blob, parts: Sequence[Blob]) -> list[Strided]:
    """As `pieces`, of blobs, along the layer's axis."""
    along: int = lowering.layer.along
    if not lowering.channels_last:
        return pieces(whole.shape, (part.shape for part in parts), along)
    order = [LAST.index(axis) for axis in range(4)]
    shapes = [tuple(blob.shape[axis] for axis in order) for blob in (whole, *parts)]
    return pieces(shapes[0], shapes[1:], LAST[along])


def pieces(whole: tuple[int, ...], parts: Iterable[tuple[int, ...]], along: int) -> list[Strided]:
    """Copies of arrays of the shapes `parts` into one of shape `whole`, one after another along an axis."""
    inner, found, start = math.prod(whole[along + 1 :]), [], 0
    for shape in parts:
        row = shape[along] * inner
        found.append(Strided((math.prod(shape[:along]), row), (row, 1), (whole[along] * inner, 1), 0, start))
        start += row
    return found


@lowers("Concat")
class ConcatLowering(Lowering):
    """Concat: a strided copy of each bottom into the top."""

    half = True
    one_type = True
    any_layout = True

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if len(bottom) > 1:
            y = top[0].data
            for blob, plan in zip(bottom, _pieces(self, top[0], bottom), strict=True):
                copy(self, plan, blob.data, y)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if len(bottom) > 1:
            dy = top[0].diff
            plans = _pieces(self, top[0], bottom)
            for blob, plan, wanted in zip(bottom, plans, propagate_down, strict=True):
                if wanted:
                    copy(self, plan.reverse, dy, blob.diff)


@lowers("Slice")
class SliceLowering(Lowering):
    """Slice: a strided copy of the bottom into each top."""

    half = True
    one_type = True
    any_layout = True

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if len(top) > 1:
            x = bottom[0].data
            for blob, plan in zip(top, _pieces(self, bottom[0], top), strict=True):
                copy(self, plan.reverse, x, blob.data)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if len(top) > 1 and propagate_down[0]:
            dx = bottom[0].diff
            for blob, plan in zip(top, _pieces(self, bottom[0], top), strict=True):
                copy(self, plan, blob.diff, dx)
