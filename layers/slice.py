"""The layer type Slice."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from dragon.bases.layer import Layer, register
from dragon.counting import how_many
from dragon.layers.concat import pieces
from dragon.memory.blob import Blob

__all__ = ["Slice"]


@register()
class Slice(Layer):
    """The bottom split along `axis` (`slice_dim` in older files) at `slice_point`s, or into equal parts."""

    type = "Slice"
    settings = ("slice_param",)
    tops = (1, None)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.slice_param
        if p.HasField("axis") and p.HasField("slice_dim"):
            self.bad_param("has both axis and slice_dim: leave slice_dim out, it is the older name")
        self.points: list[int] = list(p.slice_point)
        if self.points and len(self.points) != len(top) - 1:
            self.bad_param(
                f"expected {len(top) - 1} slice_point for {how_many(len(top), 'top')}, got {len(self.points)}"
            )
        if any(b <= a for a, b in pairwise([0, *self.points])):
            self.bad_param(f"slice_point must rise from above 0, got {self.points}")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.slice_param
        shape = bottom[0].shape
        self.along = self.axis(p.slice_dim if p.HasField("slice_dim") else p.axis, len(shape))
        extent = shape[self.along]
        if not self.points and extent % len(top):
            self.bad_shape(f"axis {self.along} of shape {shape} cannot be cut into {how_many(len(top), 'equal part')}")
        part = extent // len(top)
        edges = [0, *(self.points or [part * i for i in range(1, len(top))]), extent]
        if self.points and self.points[-1] >= extent:
            self.bad_shape(f"slice_point {self.points[-1]} is beyond axis {self.along} of shape {shape}")
        for blob, (start, stop) in zip(top, pairwise(edges), strict=True):
            blob.reshape(*shape[: self.along], stop - start, *shape[self.along + 1 :])
        if len(top) == 1:
            top[0].share_data(bottom[0])
            top[0].share_diff(bottom[0])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if len(top) > 1:
            x = bottom[0].data
            for blob, place in zip(top, pieces(self.along, top), strict=True):
                blob.data[...] = x[place]

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if len(top) > 1 and propagate_down[0]:
            dx = bottom[0].diff
            for blob, place in zip(top, pieces(self.along, top), strict=True):
                dx[place] = blob.diff
