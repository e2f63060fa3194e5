"""Base of layers through which no gradient passes."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import Layer
from dragon.memory.blob import Blob

__all__ = ["NoGradient"]


class NoGradient(Layer):
    """A layer without gradients. Backward raises PrototxtError if one is asked for, since nothing below could learn."""

    def can_propagate(self, index: int) -> bool:
        return False

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if any(propagate_down):
            self.bad_param(
                f"has no gradient for bottom {list(propagate_down).index(True)}; set its propagate_down to false"
            )
