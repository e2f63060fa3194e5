"""The layer type Normalize."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import Layer, register
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["Normalize"]


@register()
class Normalize(Layer):
    """Items divided by their L2 norm, then scaled by a learned factor (SSD, ParseNet; Liu et al. 2015).

    The norm sqrt(sum x^2 + eps) is over the whole item with `across_spatial`, else over the channels of each position.
    Blob: scale (C), or () with `channel_shared`; 1 unless `scale_filler` says otherwise.
    """

    type = "Normalize"
    works_in_place = True
    settings = ("norm_param",)
    pointwise = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.norm_param
        shape = bottom[0].shape
        if len(shape) < 2:
            self.bad_shape(f"needs at least 2 axes, got a bottom of shape {shape}")
        filler = p.scale_filler if p.HasField("scale_filler") else pb.FillerParameter(value=1)
        self.add_blob(() if p.channel_shared else (shape[1],), filler, "scale")
        self.over = (1, 2) if p.across_spatial else (1,)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        scale = self.blobs[0].shape
        if len(shape) < 2 or (scale and shape[1:2] != scale):
            self.bad_shape(f"has a scale of shape {scale}, got a bottom of shape {shape}")
        self.view = (shape[0], shape[1], math.prod(shape[2:]))
        if top[0] is not bottom[0]:
            top[0].reshape(shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data.reshape(self.view)
        eps = x.dtype.type(self.param.norm_param.eps)
        self.norm = xp_of(x).sqrt((x * x).sum(axis=self.over, keepdims=True) + eps)
        self.normal = x / self.norm
        xp_of(x).multiply(self.normal, self.blobs[0].data.reshape(-1, 1), out=top[0].data.reshape(self.view))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy, scale = top[0].diff.reshape(self.view), self.blobs[0]
        along = (dy * self.normal).sum(axis=(0, 2))
        scale.diff[...] += along if scale.shape else along.sum()
        if propagate_down[0]:
            d = dy * scale.data.reshape(-1, 1)
            dx = (d - self.normal * (d * self.normal).sum(axis=self.over, keepdims=True)) / self.norm
            bottom[0].diff[...] = dx.reshape(bottom[0].shape)
