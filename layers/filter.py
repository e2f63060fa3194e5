"""The layer type Filter."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import Layer, register
from dragon.counting import how_many
from dragon.memory.blob import Blob

__all__ = ["Filter"]


@register()
class Filter(Layer):
    """The items of every bottom but the last for which the last bottom, the selector (N), is not 0.

    The number of items depends on the values of the selector: the tops are reshaped in forward, possibly to no items.
    """

    type = "Filter"
    host_only = "the size of its tops depends on values"
    bottoms = (2, None)
    tops = (1, None)

    selector = -1  # the bottom: the last one, once the layer has its bottoms

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if len(top) != len(bottom) - 1:
            self.bad_param(f"takes a top for each bottom but the selector: expected {len(bottom) - 1}, got {len(top)}")
        self.selector = len(bottom) - 1
        self.started = False

    def can_propagate(self, index: int) -> bool:
        return index != self.selector

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        selector = bottom[-1]
        n = selector.shape[0] if selector.ndim else 0
        if selector.count != n:
            self.bad_shape(f"the selector must have one value per item, got shape {selector.shape}")
        for i, blob in enumerate(bottom[:-1]):
            if blob.shape[:1] != (n,):
                self.bad_shape(
                    f"bottom {i} must have {how_many(n, 'item')} as the selector has, got shape {blob.shape}"
                )
        # before the first run the selector is not computed yet: take all items, so that later layers get a full batch
        chosen = int((selector.peek() != 0).sum()) if self.started else n
        for blob, out in zip(bottom, top, strict=False):
            out.reshape(chosen, *blob.shape[1:])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.started = True
        self.mask = bottom[-1].data.ravel() != 0
        self.reshape(bottom, top)
        for blob, out in zip(bottom, top, strict=False):
            out.data[...] = blob.data[self.mask]

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[self.selector]:
            self.bad_param("the selector has no gradient; set its propagate_down to false")
        for blob, out, wanted in zip(bottom, top, propagate_down, strict=False):
            if wanted:
                dx = blob.diff
                dx[...] = 0
                dx[self.mask] = out.diff
