"""The layer type Mul."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.pairwise import Pairwise, sum_to
from dragon.memory.blob import Blob

__all__ = ["Mul"]


@register()
class Mul(Pairwise):
    """The product of the bottoms; axes of extent 1 in all but the first bottom are broadcast."""

    type = "Mul"

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        y = top[0].data
        y[...] = bottom[0].data
        for blob in bottom[1:]:
            y *= blob.data

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        for i, blob in enumerate(bottom):
            if propagate_down[i]:
                product = top[0].diff.copy()
                for j, other in enumerate(bottom):
                    if j != i:
                        product *= other.data
                blob.diff[...] = sum_to(product, blob.shape)
