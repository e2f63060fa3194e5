"""The layer type PReLU."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import Layer, register
from dragon.counting import how_many
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["PReLU"]


@register()
class PReLU(Layer):
    """y = max(x, 0) + a * min(x, 0) with a learned slope a, one per channel or a single one (He et al. 2015).

    Blob: slope (C), or () with `channel_shared`; 0.25 unless `filler` says otherwise.
    """

    type = "PReLU"
    works_in_place = True
    settings = ("prelu_param",)
    is_activation = True
    pointwise = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.prelu_param
        shape = bottom[0].shape
        if len(shape) < 2:
            self.bad_shape(f"needs at least 2 axes, got a bottom of shape {shape}")
        filler = p.filler if p.HasField("filler") else pb.FillerParameter(type="constant", value=0.25)
        self.add_blob(() if p.channel_shared else (shape[1],), filler, "slope")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        channels = self.blobs[0].shape
        if len(shape) < 2 or (channels and shape[1:2] != channels):
            self.bad_shape(
                f"has slopes for {how_many(channels[0] if channels else 1, 'channel')}, got a bottom of shape {shape}"
            )
        self.view = (shape[0], shape[1], math.prod(shape[2:]))
        if top[0] is not bottom[0]:
            top[0].reshape(shape)

    def _slope(self) -> Array:
        return self.blobs[0].data.reshape(-1, 1)  # over (N, C, S)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data.reshape(self.view)
        self.x = x.copy() if top[0] is bottom[0] else x
        top[0].data.reshape(self.view)[...] = xp_of(x).where(x > 0, x, x * self._slope())

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy, slope = top[0].diff.reshape(self.view), self.blobs[0]
        below = dy * (self.x <= 0)
        along = xp_of(dy).where(self.x > 0, 0, dy * self.x).sum(axis=(0, 2))
        slope.diff[...] += along if slope.shape else along.sum()
        if propagate_down[0]:
            xp = xp_of(dy)
            bottom[0].diff.reshape(self.view)[...] = xp.where(self.x > 0, dy, below * self._slope())
