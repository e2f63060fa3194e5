"""Split: its tops share the bottom's memory; the gradient is the sum of theirs, by elementwise.cu."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.engines.cuda.lowerings.elementwise import weighted_sum
from dragon.engines.cuda.lowerings.lowering import Lowering, lowers
from dragon.memory.blob import Blob

__all__ = ["SplitLowering"]


@lowers("Split")
class SplitLowering(Lowering):
    """Split: forward has nothing to compute."""

    half = True
    shares = True

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The memory is shared."""

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dx, first = bottom[0].diff, top[0].diff
        if len(top) == 1:
            weighted_sum(self, first, first, dx)
            return
        weighted_sum(self, first, top[1].diff, dx, 1.0, 1.0)
        for blob in top[2:]:
            weighted_sum(self, dx, blob.diff, dx, 1.0, 1.0)
