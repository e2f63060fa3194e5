"""The layer type ChannelScale."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import Layer, register
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of

__all__ = ["ChannelScale"]


@register()
class ChannelScale(Layer):
    """All channels at a position multiplied by one factor (caffe-windows).

    Bottoms: x (N, C, ...) and factors, one for each item and position: (N, 1, ...). `do_forward: false` copies x. In
    backward `do_backward_feature: false` passes the gradient of x on as it is, and without `do_backward_scale` the
    factors get a gradient of 0.
    """

    type = "ChannelScale"
    settings = ("channel_scale_param",)
    unlimited = frozenset({"max_global_scale"})
    bottoms = (2, 2)
    pointwise = True
    capturable = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if self.param.channel_scale_param.global_scale:
            self.bad_param("global_scale, one factor that is no parameter, is not offered; write a Scale layer")
        if top[0] is bottom[0] or top[0] is bottom[1]:
            self.bad_param("cannot work in place")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, factors = bottom[0].shape, bottom[1].shape
        if len(x) < 2 or factors[:1] != x[:1] or math.prod(factors) * x[1] != math.prod(x):
            wanted = (*x[:1], 1, *x[2:])
            self.bad_shape(f"needs a factor for each item and position of shape {x}: expected {wanted}, got {factors}")
        self.view = (x[0], x[1], math.prod(x[2:]))
        top[0].reshape(x)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data, top[0].data
        if self.param.channel_scale_param.do_forward:
            factors = bottom[1].data.reshape(self.view[0], 1, self.view[2])
            xp_of(x).multiply(x.reshape(self.view), factors, out=y.reshape(self.view))
        else:
            y[...] = x

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        p, dy = self.param.channel_scale_param, top[0].diff.reshape(self.view)
        if propagate_down[1]:
            diff = bottom[1].diff
            if p.do_backward_scale:
                diff[...] = (dy * bottom[0].data.reshape(self.view)).sum(axis=1).reshape(diff.shape)
            else:
                diff[...] = 0
        if propagate_down[0]:
            dx = bottom[0].diff.reshape(self.view)
            if p.do_backward_feature:
                xp_of(dy).multiply(dy, bottom[1].data.reshape(self.view[0], 1, self.view[2]), out=dx)
            else:
                dx[...] = dy
