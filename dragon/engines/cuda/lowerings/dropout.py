"""Dropout, by dropout.cu: the same mask as on every other engine, made on the GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dragon.bases.layer import TRAIN
from dragon.engines.cuda.kernels.dropout import dropout_backward, dropout_forward
from dragon.engines.cuda.lowerings.lowering import by_channel, lowers
from dragon.engines.cuda.lowerings.random import RandomLowering
from dragon.memory.blob import Blob

__all__ = ["DropoutLowering"]


@lowers("Dropout")
class DropoutLowering(RandomLowering):
    """Dropout: forward makes a mask of one byte for each element, which backward reads."""

    half = True
    any_layout = True  # the mask is drawn by the element's number in (N, C, H, W)
    _active = False

    @classmethod
    def takes(cls, layer: Any, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        """Whether the kernels can: not where the layer scales in TEST, which array code does."""
        if cls.shares_draws(layer):
            return False
        return bool(layer.phase == TRAIN or layer.scales_train)

    @property
    def is_random(self) -> bool:
        return bool(self.layer.phase == TRAIN and self.layer.ratio > 0)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        layer, x, y = self.layer, bottom[0].data, top[0].data
        self._active = self.is_random
        if self._active:
            _, channels, spatial = by_channel(x.shape) if x.ndim else (1, 1, 1)
            self.launch(
                dropout_forward, x=x, y=y, mask=self._mask(x.size), stream=self.stream, count=x.size,
                threshold=layer.threshold, scale=layer.scale, channels=max(1, channels), spatial=max(1, spatial),
                channels_last=self.channels_last,
            )  # fmt: skip
        elif top[0] is not bottom[0]:
            y[...] = x

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dy, dx = top[0].diff, bottom[0].diff
        if self._active:
            mask = self._mask(dy.size)
            self.launch(dropout_backward, dy=dy, mask=mask, dx=dx, count=dy.size, scale=self.layer.scale)
        elif top[0] is not bottom[0]:
            dx[...] = dy

    def _mask(self, count: int) -> Any:
        return self.buffer("mask", count, np.uint8)
