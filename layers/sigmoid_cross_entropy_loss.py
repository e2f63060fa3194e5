"""The layer type SigmoidCrossEntropyLoss."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.loss import Loss, without_ignored
from dragon.layers.sigmoid import sigmoid
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["SigmoidCrossEntropyLoss"]


@register()
class SigmoidCrossEntropyLoss(Loss):
    """-sum(t log(s) + (1 - t) log(1 - s)) with s = sigmoid(x), for targets t in [0, 1].

    Divided by the batch size unless `loss_param` says otherwise; targets equal to `ignore_label` do not count.
    """

    type = "SigmoidCrossEntropyLoss"
    settings = ("loss_param",)
    default_normalization = pb.LossParameter.BATCH_SIZE

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        if bottom[0].count != bottom[1].count:
            self.bad_shape(f"expected a target for each value of shape {bottom[0].shape}, got {bottom[1].shape}")

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data
        target = bottom[1].data.reshape(x.shape)
        xp = xp_of(x)
        # log(1 + exp(-|x|)) cannot overflow
        losses = xp.log1p(xp.exp(-xp.absolute(x))) - x * (target - (x >= 0))
        count = x.size
        if self.ignore_label is not None:
            valid = target != self.ignore_label
            losses = without_ignored(losses, valid)
            count = int(valid.sum())
        n = x.shape[0]
        self.divisor = self.normalizer(n, x.size // max(1, n), count)
        top[0].data[...] = losses.sum() / self.divisor

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.check_propagation(propagate_down)
        if propagate_down[0]:
            dx = bottom[0].diff
            target = bottom[1].data.reshape(dx.shape)
            sigmoid(bottom[0].data, dx)
            dx -= target
            if self.ignore_label is not None:
                dx[...] = without_ignored(dx, target != self.ignore_label)
            dx *= top[0].diff / self.divisor
