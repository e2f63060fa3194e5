"""The layer type ShuffleChannel."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import Layer, register
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

__all__ = ["ShuffleChannel"]


@register()
class ShuffleChannel(Layer):
    """Transposes the channels between `group` groups (ShuffleNet, Zhang et al. 2018)."""

    type = "ShuffleChannel"
    settings = ("shuffle_channel_param",)
    pointwise = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.group: int = self.param.shuffle_channel_param.group
        if self.group < 1:
            self.bad_param("group must be at least 1")
        if top[0] is bottom[0]:
            self.bad_param("cannot work in place")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) < 2 or shape[1] % self.group:
            self.bad_shape(f"group {self.group} must divide the channels of a bottom of shape {shape}")
        self.view = (shape[0], self.group, shape[1] // self.group, math.prod(shape[2:]))
        top[0].reshape(shape)

    def _shuffled(self, x: Array) -> Array:
        n, group, each, inner = self.view
        return x.reshape(n, each, group, inner).swapaxes(1, 2)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._shuffled(top[0].data)[...] = bottom[0].data.reshape(self.view)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            bottom[0].diff.reshape(self.view)[...] = self._shuffled(top[0].diff)
