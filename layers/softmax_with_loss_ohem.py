"""The layer type SoftmaxWithLossOHEM."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.layers.softmax_with_loss import SoftmaxWithLoss
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

__all__ = ["SoftmaxWithLossOHEM"]


@register()
class SoftmaxWithLossOHEM(SoftmaxWithLoss):
    """SoftmaxWithLoss whose third top holds the loss of each label, without a gradient (R-FCN, Dai et al. 2016).

    Bottoms: scores (N, C, ...) and labels. Tops: the loss, and optionally the softmax and the losses (N, 1, ...), 0 for
    ignored labels.
    """

    type = "SoftmaxWithLossOHEM"
    tops = (1, 3)
    host_only = "gives the loss of each label to layers that run on the host"

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        if len(top) > 2:
            shape = bottom[0].shape
            axis = self.axis(self.param.softmax_param.axis, len(shape))
            top[2].reshape(*shape[:axis], 1, *shape[axis + 1 :])

    def take_each(self, losses: Array, top: Sequence[Blob]) -> None:
        if len(top) > 2:
            top[2].data[...] = losses.reshape(top[2].shape)
