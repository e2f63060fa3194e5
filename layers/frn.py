"""The layer type FRN."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import Layer, register
from dragon.counting import how_many
from dragon.memory.blob import Blob
from dragon.memory.scratch import Scratch
from dragon.memory.xp import xp_of
from dragon.normalization.arithmetic import by_channel, channel_dot, channel_sum, scale_shift
from dragon.proto import dragon_pb2 as pb

__all__ = ["FRN"]


@register()
class FRN(Layer):
    """Filter response normalisation with its thresholded linear unit (Singh & Krishnan 2020, arXiv 1911.09737).

    Each channel of an item is divided by its own root mean square over the spatial positions; no mean is subtracted and
    nothing depends on the batch: y = max(gamma x / sqrt(mean(x^2) + eps) + beta, tau). With `threshold: false` the
    maximum and tau are left out; otherwise no ReLU has to follow. bottom: (N, C, ...), in place or not. With a single
    position x / sqrt(x^2 + eps) is little more than the sign. TRAIN and TEST do the same.

    Blobs: gamma (C), beta (C) and tau (C).
    """

    type = "FRN"
    settings = ("frn_param",)
    is_activation = True
    works_in_place = True
    pointwise = True
    family = "normalisation"

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.frn_param
        if not p.eps >= 0:
            self.bad_param(f"eps must not be negative, got {p.eps:g}")
        shape = bottom[0].shape
        if len(shape) < 2:
            self.bad_shape(f"needs at least 2 axes, got a bottom of shape {shape}")
        one = pb.FillerParameter(value=1)
        self.add_blob(shape[1:2], p.scale_filler if p.HasField("scale_filler") else one, "scale")
        self.add_blob(shape[1:2], p.bias_filler, "bias")
        if p.threshold:
            self.add_blob(shape[1:2], p.threshold_filler, "threshold")
        self._scratch = Scratch()

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if shape[1:2] != self.blobs[0].shape:
            self.bad_shape(f"has scales for {how_many(self.blobs[0].count, 'channel')}, got a bottom of shape {shape}")
        if top[0] is not bottom[0]:
            top[0].reshape(shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = by_channel(bottom[0].data), by_channel(top[0].data)
        xp = xp_of(x)
        squares = xp.einsum("ncs,ncs->nc", x, x) / max(1, x.shape[2])
        self._inv = (1 / xp.sqrt(squares + x.dtype.type(self.param.frn_param.eps)))[:, :, None]
        normal = self._scratch.get("normal", x.shape, x)
        xp.multiply(x, self._inv, out=normal)
        gamma, beta = (blob.data for blob in self.blobs[:2])
        scale_shift(normal, gamma, beta, y)
        if len(self.blobs) > 2:
            tau = self.blobs[2].data[:, None]
            above = self._scratch.get("above", x.shape, x, bool)
            xp.greater(y, tau, out=above)
            xp.maximum(y, tau, out=y)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy = by_channel(top[0].diff)
        xp = xp_of(dy)
        normal = self._scratch.get("normal", dy.shape, dy)
        if len(self.blobs) > 2:
            above = self._scratch.get("above", dy.shape, dy, bool)
            masked = self._scratch.get("masked", dy.shape, dy)
            xp.multiply(dy, above, out=masked)
            self.blobs[2].diff[...] += channel_sum(dy - masked)
            dy = masked
        self.blobs[0].diff[...] += channel_dot(dy, normal)
        self.blobs[1].diff[...] += channel_sum(dy)
        if propagate_down[0]:
            d = dy * self.blobs[0].data[:, None]
            along = xp.einsum("ncs,ncs->nc", d, normal) / max(1, d.shape[2])
            d -= normal * along[:, :, None]
            xp.multiply(d, self._inv, out=by_channel(bottom[0].diff))
