"""PriorBox: the boxes depend on sizes alone, so they are sent to the GPU once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.engines.cuda.lowerings.elementwise import copied
from dragon.engines.cuda.lowerings.lowering import Lowering, lowers
from dragon.memory.blob import Blob

__all__ = ["PriorBoxLowering"]


@lowers("PriorBox")
class PriorBoxLowering(Lowering):
    """PriorBox: copies the layer's boxes and variances, which are kept on the device."""

    _made = None  # the layer's boxes that are on the device

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        layer, y = self.layer, top[0].data
        whole = self.buffer("boxes", y.shape, lasting=True)
        if self._made is not layer.boxes:
            self._made = layer.boxes
            values = np.empty((2, layer.boxes.size), self.dtype)
            values[0] = layer.boxes.reshape(-1)
            values[1].reshape(-1, 4)[...] = layer.variance
            self.device.upload(whole, values.reshape(y.shape))
        copied(self, whole, y)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.layer.backward(top, propagate_down, bottom)  # raises an error where a gradient is asked for
