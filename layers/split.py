"""The layer type Split."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import Layer, register
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of

__all__ = ["Split"]


@register()
class Split(Layer):
    """The bottom under several names, for a blob with several readers; the gradient is the sum. Nets insert these."""

    type = "Split"
    passes_memory = True
    pointwise = True
    tops = (1, None)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if any(blob is bottom[0] for blob in top):
            self.bad_param("cannot work in place: give the tops other names")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for blob in top:
            blob.reshape(bottom[0].shape)
            blob.share_data(bottom[0])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Do nothing: the tops share the data of the bottom."""

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dx = bottom[0].diff
        if len(top) == 1:
            dx[...] = top[0].diff
            return
        xp_of(dx).add(top[0].diff, top[1].diff, out=dx)
        for blob in top[2:]:
            dx += blob.diff
