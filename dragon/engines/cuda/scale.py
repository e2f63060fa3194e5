"""Scale and Bias by channel, through batch_norm.cu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dragon.blob import Blob
from dragon.engines.cuda.channels import Channels, channel_sums, totals
from dragon.engines.cuda.lowering import Lowering, lowers

__all__ = ["BiasLowering", "ScaleLowering"]

FILE = "batch_norm"


class _Affine(Lowering):
    half = True

    @classmethod
    def takes(cls, layer: Any, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return len(bottom) == 1 and bottom[0].count > 0

    def affine(self, x: Any, gamma: Any, beta: Any, y: Any, copy: Any = None) -> None:
        """y = x * gamma + beta."""
        at = self._channels().finer(self.device)
        self.launch(
            FILE, "bn_affine", at.grid, x, None, gamma, beta, y, copy, at.n, at.c, at.s, at.width, at.slices,
            at.vectors(self.device, x, y, copy), False, 0.0,
        )  # fmt: skip

    def _channels(self) -> Channels:
        return Channels.of(self.device, *self.layer.spans)


@lowers("Scale")
class ScaleLowering(_Affine):
    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        layer, x = self.layer, bottom[0].data
        bias = layer.bias_blob
        copy = self.room("x", x.shape, self.stored) if top[0] is bottom[0] and self.learns else None
        self.affine(x, layer.blobs[0].data, None if bias is None else bias.data, top[0].data, copy)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        layer, dy = self.layer, top[0].diff
        x = self.room("x", dy.shape, self.stored) if top[0] is bottom[0] else bottom[0].data
        at, bias = self._channels(), layer.bias_blob
        sums = channel_sums(self.device, at, dy, x)
        totals(self.device, at, sums, None if bias is None else bias.diff, layer.blobs[0].diff, unscale=self.unscale)
        if propagate_down[0]:
            self.affine(dy, layer.blobs[0].data, None, bottom[0].diff)


@lowers("Bias")
class BiasLowering(_Affine):
    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.affine(bottom[0].data, None, self.layer.blobs[0].data, top[0].data)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy, at = top[0].diff, self._channels()
        totals(self.device, at, channel_sums(self.device, at, dy), self.layer.blobs[0].diff, None,
               unscale=self.unscale)  # fmt: skip
        if propagate_down[0] and top[0] is not bottom[0]:
            self.affine(dy, None, None, bottom[0].diff)
