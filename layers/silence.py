"""The layer type Silence."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import Layer, register
from dragon.memory.blob import Blob

__all__ = ["Silence"]


@register()
class Silence(Layer):
    """Consumes blobs that no other layer reads, so that they are no outputs of the net; makes no top."""

    type = "Silence"
    passes_memory = True
    bottoms = (1, None)
    tops = (0, 0)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Do nothing: there are no tops."""

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Do nothing: there are no tops."""

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        for blob, wanted in zip(bottom, propagate_down, strict=True):
            if wanted:
                blob.diff[...] = 0
