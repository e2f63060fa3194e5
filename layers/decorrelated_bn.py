"""The layer type DecorrelatedBN."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from dragon.bases.layer import TEST, Layer, register
from dragon.counting import how_many
from dragon.memory.blob import Blob
from dragon.memory.scratch import Scratch
from dragon.memory.storage import Array
from dragon.normalization.arithmetic import (
    by_channel,
    channel_count,
    channel_dot,
    channel_sum,
    scale_shift,
    subtract_mean,
)
from dragon.normalization.rules import Averaging, averaging
from dragon.normalization.whitening import covariance, product, whitening, whitening_gradient
from dragon.proto import dragon_pb2 as pb

__all__ = ["DecorrelatedBN"]

_log = logging.getLogger("dragon")


@register()
class DecorrelatedBN(Layer):
    """Batch normalisation that also takes the correlations between channels away (Huang et al. 2018, arXiv 1804.08450).

    TRAIN whitens by the batch: y = S^(-1/2) (x - mean), where S is the (biased) covariance of the channels of a group
    plus eps on its diagonal and S^(-1/2) its symmetric inverse root (ZCA). TEST takes the running mean and covariance.
    `group` groups of channels are whitened apart: the cost for each step is that of their eigenvalues, (C / group)^3
    each, and a group needs more values than it has channels. An empty batch moves no average. bottom, top: (N, C, ...),
    in place or not.

    Blobs: mean (C), covariance (group, C / group, C / group), weight of the average (1) and, with `scale_bias`, gamma
    (C) and beta (C). The average follows the rule EMA with `decay` unless `average` names another. Huang et al.
    average the matrix S^(-1/2); here it is the covariance, as BN averages the variance.
    """

    type = "DecorrelatedBN"
    settings = ("decorrelated_bn_param",)
    works_in_place = True
    pointwise = True
    family = "normalisation"
    buffers = frozenset({0, 1, 2})
    removes_mean = True

    @classmethod
    def differs_by_phase(cls, param: pb.LayerParameter) -> bool:
        return True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.decorrelated_bn_param
        channels = channel_count(bottom[0].shape) if bottom[0].shape else 1
        if not p.eps > 0:
            self.bad_param(f"eps must be greater than 0, got {p.eps:g}")
        if not 0 <= p.decay <= 1:
            self.bad_param(f"decay must be between 0 and 1, got {p.decay:g}")
        if p.group < 1 or channels % p.group:
            self.bad_param(f"group must divide the {how_many(channels, 'channel')}, got {p.group}")
        zero, one, size = pb.FillerParameter(), pb.FillerParameter(value=1), channels // p.group
        self.add_blob((channels,), zero, "mean")
        self.add_blob((p.group, size, size), zero, "covariance")
        self.add_blob((1,), zero, "weight of the average")
        if p.scale_bias:
            self.add_blob((channels,), p.scale_filler if p.HasField("scale_filler") else one, "scale")
            self.add_blob((channels,), p.bias_filler, "bias")
        self._scratch = Scratch()
        self._warned = False

    @property
    def averaging(self) -> Averaging:
        """The rule of the running average as numbers."""
        p = self.param.decorrelated_bn_param
        return averaging(p.average, p.decay)

    def running(self) -> tuple[Array, Array]:
        """The running mean (C) and covariance (group, C / group, C / group) that TEST whitens with."""
        mean, cov, weight = (blob.data for blob in self.blobs[:3])
        return self.averaging.read((mean, cov), weight)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if not shape:
            self.bad_shape("needs a bottom with at least 1 axis, got a scalar")
        if channel_count(shape) != self.blobs[0].count:
            self.bad_shape(
                f"has statistics of {how_many(self.blobs[0].count, 'channel')}, got a bottom of shape {shape}"
            )
        if top[0] is not bottom[0]:
            top[0].reshape(shape)

    def _grouped(self, x: Array) -> Array:
        """An array of the shape of the bottom as (N, group, C / group, S)."""
        groups, size, _ = self.blobs[1].shape
        return x.reshape(x.shape[0], groups, size, math.prod(x.shape[2:]))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = by_channel(bottom[0].data), by_channel(top[0].data)
        self._by_running = self.phase == TEST
        centred = self._scratch.get("centred", x.shape, x)
        count = x.shape[0] * x.shape[2]
        mean, cov = self.running() if self._by_running else (channel_sum(x) / max(1, count), None)
        subtract_mean(x, mean, centred)
        moving = cov is None and count > 0  # an empty batch has no statistics
        if cov is None:
            cov = covariance(self._grouped(centred))
        self._matrix, self._roots, self._vectors = whitening(cov, self.param.decorrelated_bn_param.eps)
        normal = self._scratch.get("normal", x.shape, x)
        product(self._matrix, self._grouped(centred), self._grouped(normal))
        if len(self.blobs) > 3:
            scale_shift(normal, self.blobs[3].data, self.blobs[4].data, y)
        else:
            y[...] = normal
        if moving:
            self._update(mean, cov, count)

    def _update(self, mean: Array, cov: Array, count: int) -> None:
        size = cov.shape[-1]
        if count <= size and not self._warned:
            self._warned = True
            _log.warning(
                "%s: %s for each of the %d channels of a group: their covariance is singular; take a larger "
                "batch or more groups", self.where, how_many(count, "value"), size,
            )  # fmt: skip
        running = self.blobs[0].data, self.blobs[1].data
        self.averaging.accumulate(running, self.blobs[2].data, (mean, cov.astype(mean.dtype)), count)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy = by_channel(top[0].diff)
        if len(self.blobs) > 3:
            normal = self._scratch.get("normal", dy.shape, dy)
            self.blobs[3].diff[...] += channel_dot(dy, normal)
            self.blobs[4].diff[...] += channel_sum(dy)
        if not propagate_down[0]:
            return
        d = self._scratch.get("d", dy.shape, dy)
        if len(self.blobs) > 3:
            scale_shift(dy, self.blobs[3].data, None, d)
        else:
            d[...] = dy
        dx = by_channel(bottom[0].diff)
        product(self._matrix, self._grouped(d), self._grouped(dx))
        if self._by_running:
            return
        centred = self._scratch.get("centred", dy.shape, dy)
        through = whitening_gradient(self._grouped(d), self._grouped(centred), self._roots, self._vectors)
        product(through, self._grouped(centred), self._grouped(d))
        dx += d
        subtract_mean(dx, channel_sum(dx) / max(1, dx.shape[0] * dx.shape[2]), dx)
