"""The layer type Threshold."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.no_gradient import NoGradient
from dragon.memory.blob import Blob

__all__ = ["Threshold"]


@register()
class Threshold(NoGradient):
    """y = 1 where x > threshold, else 0."""

    type = "Threshold"
    works_in_place = True
    settings = ("threshold_param",)
    unlimited = frozenset({"threshold"})
    pointwise = True

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if top[0] is not bottom[0]:
            top[0].reshape(bottom[0].shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data[...] = bottom[0].data > self.param.threshold_param.threshold
