"""Launches dropout.cu: the same mask as every other engine, made on the GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dragon.blob import Blob
from dragon.engines.cuda.lowering import Lowering, lowers
from dragon.layer import TRAIN

__all__ = ["DropoutLowering"]

FILE = "dropout"
EACH = 8  # elements of a thread


@lowers("Dropout")
class DropoutLowering(Lowering):
    _active = False

    def prepare(self) -> None:
        """The draw's key and number go to the device before each run, so a replayed graph draws anew."""
        if self.layer.phase == TRAIN and self.layer.ratio > 0:
            rng = self.layer.rng
            self.device.upload(self.room("stream", 3, np.uint64), np.array([*rng.key, rng.draws], np.uint64))
            rng.draws += 1

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        layer, x, y = self.layer, bottom[0].data, top[0].data
        self._active = layer.phase == TRAIN and layer.ratio > 0
        if self._active:
            threshold, stream = np.uint64(layer.threshold), self.room("stream", 3, np.uint64)
            keep = self._keep(x.size)
            self.spread(FILE, "dropout_forward", x.size, x, y, keep, stream, x.size, threshold, layer.scale, each=EACH)
        elif top[0] is not bottom[0]:
            y[...] = x

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dy, dx = top[0].diff, bottom[0].diff
        if self._active:
            self.spread(FILE, "dropout_backward", dy.size, dy, self._keep(dy.size), dx, dy.size, self.layer.scale)
        elif top[0] is not bottom[0]:
            dx[...] = dy

    def _keep(self, count: int) -> Any:
        return self.room("keep", count, np.uint8)
