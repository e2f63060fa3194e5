"""PReLU, by elementwise.cu; the gradient of its slopes by channels.cu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dragon.bases.layer import Layer
from dragon.engines.cuda.kernels.elementwise import prelu_backward, prelu_forward
from dragon.engines.cuda.lowerings.channels import Channels, channel_gradient
from dragon.engines.cuda.lowerings.lowering import Lowering, by_channel, lowers
from dragon.memory.blob import Blob

__all__ = ["PReLULowering"]


@lowers("PReLU")
class PReLULowering(Lowering):
    """PReLU, with a slope for each channel or one for all."""

    half = True
    writes_gradients = True

    @classmethod
    def takes(cls, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return bottom[0].count > 0

    @classmethod
    def takes_channels_last(cls, layer: Any, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return bool(layer.view == by_channel(bottom[0].shape))

    @property
    def _view(self) -> tuple[int, int, int]:
        """(N, C, S) of the bottom as it lies."""
        n, c, s = self.layer.view
        return (n * s, c, 1) if self.channels_last else (n, c, s)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, slope = bottom[0].data, self.layer.blobs[0].data
        copy = self.buffer("x", x.shape, self.stored) if top[0] is bottom[0] and self.learns else None
        self.launch(
            prelu_forward, x=x, slope=slope, y=top[0].data, copy=copy, count=x.size, slopes=slope.size,
            spatial=self._view[2],
        )  # fmt: skip

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        n, c, s = self._view
        dy, slope = top[0].diff, self.layer.blobs[0]
        x = self.buffer("x", dy.shape, self.stored) if top[0] is bottom[0] else bottom[0].data
        dx = bottom[0].diff if propagate_down[0] else None
        below = self.buffer("below", dy.shape)
        self.launch(
            prelu_backward, x=x, dy=dy, slope=slope.data, dx=dx, below=below, count=x.size,
            slopes=slope.count, spatial=s,
        )  # fmt: skip
        at = Channels.of(self.device, n, c, s) if slope.shape else Channels.of(self.device, 1, 1, n * c * s)
        channel_gradient(self.device, at, below, slope.diff, unscale=self.unscale, add=self.adds(slope))
