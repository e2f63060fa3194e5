"""BatchNorm and BN, alone or fused with the Scale and ReLU that follow in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from dragon.engines.cuda.device.device import Device
from dragon.engines.cuda.kernels import batch_norm as kernels
from dragon.engines.cuda.kernels.batch_norm import TO_BETA, TO_GAMMA
from dragon.engines.cuda.lowerings import normalizing
from dragon.engines.cuda.lowerings.channels import Channels, channel_sums
from dragon.engines.cuda.lowerings.lowering import Lowering, lowers
from dragon.engines.cuda.lowerings.sums import Added, Spread
from dragon.graph.node import Node
from dragon.memory.blob import Blob

if TYPE_CHECKING:
    from dragon.bases.batch_statistics import BatchStatistics
    from dragon.bases.layer import Layer

__all__ = ["BatchNormLowering"]


@lowers("BatchNorm", "BN")
class BatchNormLowering(Lowering):
    """BatchNorm or BN with what is fused into it.

    scale: the Scale layer whose blobs are gamma and beta; None: they are the layer's own, if any. slope: of the ReLU at
    the end; None where there is no ReLU.
    """

    half = True

    def __init__(self, device: Device, node: Node, scale: Any = None, slope: float | None = None) -> None:
        super().__init__(device, node)
        self._scale = scale
        self._slope = slope

    def on(self, device: Device) -> BatchNormLowering:
        return type(self)(device, self.node, self._scale, self._slope)

    @classmethod
    def takes(cls, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return cast("BatchStatistics", layer).by_own_batch

    @classmethod
    def takes_channels_last(cls, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return True

    def _affine(self) -> tuple[Blob, Blob | None] | None:
        if self._scale is not None:
            return self._scale.blobs[0], self._scale.bias_blob
        affine: tuple[Blob, Blob] | None = self.layer.affine
        return affine

    def learned(self) -> Sequence[Blob]:
        return [blob for blob in self._affine() or () if blob is not None]

    def _add(self, affine: tuple[Blob, Blob | None] | None) -> int:
        """The kernels' argument `add`."""
        gamma, beta = affine or (None, None)
        return (TO_GAMMA if self.adds(gamma) else 0) | (TO_BETA if self.adds(beta) else 0)

    def _running(self, channels: int) -> tuple[Any, Any, Any]:
        """Running mean, variance and their weight, each None where the layer has none."""
        layer = self.layer
        if layer.keeps_statistics:
            mean, variance, weight = layer.statistics
            return mean.data, variance.data, None if weight is None else weight.data
        if layer.use_global:  # gamma and beta include the statistics
            return self.constant("mean", [0.0] * channels), self.constant("variance", [1.0] * channels), None
        return None, None, None

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob], added: Added | None = None) -> None:
        """As for every lowering. added: what is added to the top, with this lowering without a ReLU."""
        layer = self.layer
        n, c, s = self.by_channel(bottom[0].shape)
        at = Channels.of(self.device, n, c, s)
        x, y = bottom[0].data, top[0].data
        affine = self._affine()
        gamma = None if affine is None else affine[0].data
        beta = None if affine is None or affine[1] is None else affine[1].data
        # backward needs x; in place it is gone by then
        copy = self.buffer("x", x.shape, self.stored) if top[0] is bottom[0] and self.learns else None
        mean_inv = self.buffer("mean_inv", 2 * c)
        rectify, slope = self._slope is not None, float(self._slope or 0)
        self._by_running = layer.use_global
        mean, var, weight = self._running(c)
        eps, average = layer.normalization.eps, layer.normalization.averaging
        if self._by_running:
            if average.divided:
                weight = None
            zero, of = float(average.full), at.geometry(self.device, x, y, copy)
            self.launch(
                kernels.bn_running, running_mean=mean, running_var=var, weight=weight, mean_inv=mean_inv, c=c,
                eps=eps, zero=zero, deviation=average.deviation is not None,
            )  # fmt: skip
            self.launch(
                kernels.bn_affine, grid=of.grid, x=x, mean_inv=mean_inv, gamma=gamma, beta=beta, y=y, copy=copy,
                **of.sizes, rectify=rectify, slope=slope,
            )  # fmt: skip
            if added is not None:
                added.launch(self, y)
            return
        layer.check_count(n * s)
        given = {
            "x": x, "gamma": gamma, "beta": beta, "y": y, "copy": copy, "mean_inv": mean_inv, "running_mean": mean,
            "running_var": var, "weight": weight, "eps": eps, "rectify": rectify, "slope": slope,
        }  # fmt: skip
        normalizing.forward(self, at, average, given, added)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob], spread: Spread | None = None
    ) -> None:
        """As for every lowering. spread: makes the top's gradient."""
        n, c, s = self.by_channel(bottom[0].shape)
        at = Channels.of(self.device, n, c, s)
        dy = top[0].diff if spread is None else spread.result
        dx = bottom[0].diff if propagate_down[0] else None
        x = self.buffer("x", dy.shape, self.stored) if top[0] is bottom[0] else bottom[0].data
        y = top[0].data if self._slope is not None else None
        slope = float(self._slope or 0)
        affine = self._affine()
        gamma = None if affine is None else affine[0].data
        mean_inv = self.buffer("mean_inv", 2 * c)
        dgamma = None if affine is None else affine[0].diff
        dbeta = None if affine is None or affine[1] is None else affine[1].diff
        by_batch = not self._by_running
        given = {
            "dy": dy, "x": x, "mean_inv": mean_inv, "gamma": gamma, "unscale": self.unscale, "y": y, "dx": dx,
            "dgamma": dgamma, "dbeta": dbeta, "add": self._add(affine), "slope": slope,
            "batch": by_batch and self.layer.normalization.gradient_through_statistics,
        }  # fmt: skip
        if dx is not None and (by_batch or affine is not None):
            normalizing.backward(self, at, given, spread)
            return
        if spread is not None:
            spread.launch(self)
        if dx is None and dgamma is None:
            return
        sums = None
        if affine is not None:
            sums = channel_sums(self.device, at, dy, x, mean=mean_inv[:c], y=y, slope=slope)
        normalizing.by_sums(self, at, sums, given)
