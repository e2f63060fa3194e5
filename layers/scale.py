"""The layer type Scale."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.broadcast import by_operand, operand_shape, operand_span
from dragon.bases.layer import Layer, register
from dragon.memory.blob import Blob
from dragon.memory.scratch import Scratch
from dragon.memory.storage import Array
from dragon.normalization.arithmetic import channel_dot, channel_sum, scale_shift
from dragon.proto import dragon_pb2 as pb

__all__ = ["Scale"]


@register()
class Scale(Layer):
    """y = x * scale + bias; scale and bias have the axes of x from `axis` on and are broadcast over the others.

    The scale is bottom 1 or, with one bottom, a learned blob of `num_axes` axes. Blobs: scale (with one bottom), then
    bias (with `bias_term`), which has the shape of the scale.
    """

    type = "Scale"
    works_in_place = True
    settings = ("scale_param",)
    pointwise = True
    family = "scale"
    bottoms = (1, 2)

    @property
    def bias_blob(self) -> Blob | None:
        """The learned bias; None without bias_term."""
        return self.blobs[-1] if self.param.scale_param.bias_term else None

    def scale_blob(self, bottom: Sequence[Blob]) -> Blob:
        """Bottom 1 or the learned scale."""
        return bottom[1] if len(bottom) > 1 else self.blobs[0]

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._scratch = Scratch()
        p = self.param.scale_param
        if len(bottom) > 1:
            shape = bottom[1].shape
        else:
            shape = operand_shape(self, bottom[0].shape, p.axis, p.num_axes)
            self.add_blob(shape, p.filler if p.HasField("filler") else pb.FillerParameter(value=1), "scale")
        if p.bias_term:
            self.add_blob(shape, p.bias_filler, "bias")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        operand = self.scale_blob(bottom).shape
        self.spans = operand_span(self, bottom[0].shape, operand, self.param.scale_param.axis)
        bias = self.bias_blob
        if bias is not None and bias.shape != operand:
            self.bad_shape(f"has a bias of shape {bias.shape}, got a scale of shape {operand}")
        if top[0] is not bottom[0]:
            top[0].reshape(bottom[0].shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = by_operand(bottom[0].data, self.spans)
        if top[0] is bottom[0]:
            self._scratch.get("x", x.shape, x)[...] = x  # backward needs it
        scale = self.scale_blob(bottom).data.reshape(-1)
        bias = self.bias_blob
        scale_shift(x, scale, None if bias is None else bias.data.reshape(-1), by_operand(top[0].data, self.spans))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy = by_operand(top[0].diff, self.spans)
        bias = self.bias_blob
        if bias is not None:
            bias.diff[...] += channel_sum(dy).reshape(bias.shape)
        if len(bottom) == 1 or propagate_down[1]:
            x = self._x(dy) if top[0] is bottom[0] else by_operand(bottom[0].data, self.spans)
            dscale = channel_dot(x, dy).reshape(self.scale_blob(bottom).shape)
            if len(bottom) > 1:
                bottom[1].diff[...] = dscale
            else:
                self.blobs[0].diff[...] += dscale
        if propagate_down[0]:
            scale = self.scale_blob(bottom).data.reshape(-1)
            scale_shift(dy, scale, None, by_operand(bottom[0].diff, self.spans))

    def _x(self, like: Array) -> Array:
        return self._scratch.get("x", like.shape, like)
