"""The layer type ShuffleChannel."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.rearranging import Rearranging
from dragon.memory.blob import Blob

__all__ = ["ShuffleChannel"]


@register()
class ShuffleChannel(Rearranging):
    """Transposes the channels between `group` groups (ShuffleNet, Zhang et al. 2018)."""

    type = "ShuffleChannel"
    settings = ("shuffle_channel_param",)
    pointwise = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.group: int = self.param.shuffle_channel_param.group
        if self.group < 1:
            self.bad_param("group must be at least 1")
        super().setup(bottom, top)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) < 2 or shape[1] % self.group:
            self.bad_shape(f"group {self.group} must divide the channels of a bottom of shape {shape}")
        view = (shape[0], self.group, shape[1] // self.group, math.prod(shape[2:]))
        self.arrange(top[0], shape, view, (0, 2, 1, 3))
