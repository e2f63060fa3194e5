"""The layer type Bias."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.broadcast import by_operand, operand_shape, operand_span
from dragon.bases.layer import Layer, register
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of
from dragon.normalization.arithmetic import channel_sum

__all__ = ["Bias"]


@register()
class Bias(Layer):
    """y = x + bias; the bias has the axes of x from `axis` on and is broadcast over the others.

    The bias is bottom 1 or, with one bottom, a learned blob of `num_axes` axes.
    """

    type = "Bias"
    works_in_place = True
    settings = ("bias_param",)
    pointwise = True
    bottoms = (1, 2)

    def bias_blob(self, bottom: Sequence[Blob]) -> Blob:
        """Bottom 1 or the learned blob."""
        return bottom[1] if len(bottom) > 1 else self.blobs[0]

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.bias_param
        if len(bottom) == 1:
            self.add_blob(operand_shape(self, bottom[0].shape, p.axis, p.num_axes), p.filler, "bias")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        operand = self.bias_blob(bottom).shape
        self.spans = operand_span(self, bottom[0].shape, operand, self.param.bias_param.axis)
        if top[0] is not bottom[0]:
            top[0].reshape(bottom[0].shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = by_operand(bottom[0].data, self.spans)
        bias = self.bias_blob(bottom).data.reshape(-1, 1)
        xp_of(x).add(x, bias, out=by_operand(top[0].data, self.spans))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if len(bottom) == 1 or propagate_down[1]:
            bias = self.bias_blob(bottom)
            total = channel_sum(by_operand(top[0].diff, self.spans)).reshape(bias.shape)
            if len(bottom) > 1:
                bias.diff[...] = total
            else:
                bias.diff[...] += total
        if propagate_down[0] and top[0] is not bottom[0]:
            bottom[0].diff[...] = top[0].diff
