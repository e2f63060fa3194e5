"""Split: its tops share the bottom's memory; the gradient is the sum of theirs, by sums.cu."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.engines.cuda.lowerings.lowering import Lowering, lowers
from dragon.engines.cuda.lowerings.sums import add
from dragon.memory.blob import Blob

__all__ = ["SplitLowering"]


@lowers("Split")
class SplitLowering(Lowering):
    """Split: forward has nothing to compute."""

    half = True
    any_layout = True
    shares = True

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The memory is shared."""

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            add(self, [blob.diff for blob in top], bottom[0].diff)
