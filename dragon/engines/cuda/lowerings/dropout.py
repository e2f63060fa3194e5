"""Launches dropout.cu: the same mask as every other engine, made on the GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dragon.bases.layer import TRAIN
from dragon.engines.cuda.lowerings.draws import EACH, Drawing
from dragon.engines.cuda.lowerings.lowering import lowers
from dragon.memory.blob import Blob

__all__ = ["DropoutLowering"]

FILE = "dropout"


@lowers("Dropout")
class DropoutLowering(Drawing):
    half = True
    _active = False

    @property
    def draws(self) -> bool:
        return bool(self.layer.phase == TRAIN and self.layer.ratio > 0)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        layer, x, y = self.layer, bottom[0].data, top[0].data
        self._active = self.draws
        if self._active:
            threshold, keep = np.uint64(layer.threshold), self._keep(x.size)
            self.spread(
                FILE, "dropout_forward", x.size, x, y, keep, self.stream, x.size, threshold, layer.scale, each=EACH
            )
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
