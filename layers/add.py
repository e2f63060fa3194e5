"""The layer type Add."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.pairwise import Pairwise, sum_to
from dragon.memory.blob import Blob

__all__ = ["Add"]


@register()
class Add(Pairwise):
    """The sum of the bottoms; axes of extent 1 in all but the first bottom are broadcast."""

    type = "Add"

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        y = top[0].data
        y[...] = bottom[0].data
        for blob in bottom[1:]:
            y += blob.data

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        for blob, wanted in zip(bottom, propagate_down, strict=True):
            if wanted:
                blob.diff[...] = sum_to(top[0].diff, blob.shape)
