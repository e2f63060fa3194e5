"""The end of a residual block: a normalisation, the sum of its top and the shortcut, the ReLU and the Split behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dragon.engines.cuda.device.device import Device
from dragon.engines.cuda.lowerings.eltwise import receivers
from dragon.engines.cuda.lowerings.normalization import BatchNormLowering
from dragon.engines.cuda.lowerings.sums import Added, Spread
from dragon.graph.node import Node
from dragon.memory.blob import Blob
from dragon.memory.storage import Storage

__all__ = ["ResidualLowering"]


class ResidualLowering(BatchNormLowering):
    """BatchNorm or BN, the Scale in place on its top, and the plain sum (Eltwise) of that and one other blob.

    Forward does not read the top of the normalisation again to add it, nor backward the gradient of the sum to add up
    its channels. Blobs have the values that each layer by itself would give them. bottom: what is normalised, the other
    blob. added: the Eltwise layer. slope: of the ReLU in place on the sum; None where there is none. split: whether the
    last layer is a Split.
    """

    def __init__(
        self, device: Device, node: Node, scale: Any, added: Node, slope: float | None, split: bool
    ) -> None:  # fmt: skip
        super().__init__(device, node, scale)
        self._added, self._slope_of_sum, self._split = added, slope, split
        self._shortcut = int(added.bottoms[0] is node.tops[0])  # which bottom of the sum is the other blob
        self.overwrites_top_diff = not split

    def on(self, device: Device) -> ResidualLowering:
        return type(self)(device, self.node, self._scale, self._added, self._slope_of_sum, self._split)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob], added: Added | None = None) -> None:
        added = Added(bottom[1].data, self._added.tops[0].data, self._slope_of_sum)
        super().forward(bottom[:1], self.node.tops, added)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob], spread: Spread | None = None
    ) -> None:
        """The sum's own diff is that in front of the ReLU, as where each layer runs by itself."""
        own = self._added.tops[0]
        own_first, *others = [blob.diff for blob in self._equal(propagate_down[1])]
        outs = [own_first, *others] if self._split or self._slope_of_sum is not None else others
        spread = Spread([blob.diff for blob in top], outs, own_first, own.data, self._slope_of_sum)
        super().backward(self.node.tops, propagate_down[:1], bottom[:1], spread)

    def _equal(self, other_learns: bool) -> list[Blob]:
        """The blobs that get the gradient of the sum: its own, and those of its bottoms.

        In place on its bottom, the normalisation's gradient is overwritten by what it gives that bottom.
        """
        own, normal, other = self._added.tops[0], self.node.tops[0], self._added.bottoms[self._shortcut]
        return receivers([own, normal, other], [True, normal is not self.node.bottoms[0], other_learns])

    def equal_diffs(self) -> Sequence[Storage]:
        return [blob.diff_storage for blob in self._equal(self._added.propagate_down[self._shortcut])]
