"""The layer type Sum."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import Layer, LayerClass, register
from dragon.layers.eltwise import Eltwise
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["Sum"]


@register()
class Sum(Layer):
    """The sum of several bottoms of one shape, as Eltwise has it, or of one bottom over some of its axes.

    `sum_param { axis }` names these axes, all of them when none is named; with `keepdims` they stay, with extents of 1
    (Synopsys Caffe).
    """

    type = "Sum"
    settings = ("sum_param",)
    capturable = True

    @classmethod
    def form(cls, param: pb.LayerParameter) -> LayerClass:
        return Eltwise if len(param.bottom) > 1 and not param.HasField("sum_param") else cls

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if top[0] is bottom[0]:
            self.bad_param("cannot work in place")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p, shape = self.param.sum_param, bottom[0].shape
        self.axes = tuple({self.axis(axis, len(shape)) for axis in p.axis} or range(len(shape)))
        self.kept = tuple(1 if i in self.axes else extent for i, extent in enumerate(shape))
        top[0].reshape(
            self.kept if p.keepdims else tuple(extent for i, extent in enumerate(shape) if i not in self.axes)
        )

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data
        xp_of(x).sum(x, axis=self.axes, keepdims=True, out=top[0].data.reshape(self.kept))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff.reshape(self.kept)
