"""SPP: a pooling for each level of the pyramid, whose tops lie one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dragon.bases.layer import Layer
from dragon.engines.cuda.lowerings.concat import pieces
from dragon.engines.cuda.lowerings.elementwise import copied, weighted_sum
from dragon.engines.cuda.lowerings.lowering import Lowering, lowers
from dragon.engines.cuda.lowerings.pooling import PoolingLowering
from dragon.engines.cuda.lowerings.rearranging import copy
from dragon.graph.node import Node
from dragon.memory.blob import Blob

__all__ = ["SPPLowering"]


@lowers("SPP")
class SPPLowering(Lowering):
    """SPP: poolings whose tops are copied into one."""

    @classmethod
    def takes(cls, layer: Any, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return all(
            PoolingLowering.takes(level, bottom, [pooled]) and not PoolingLowering.is_random_layer(level)
            for level, pooled in zip(layer.levels, layer.pooled, strict=True)
        )

    def _levels(self) -> list[tuple[PoolingLowering, Blob]]:
        """The pooling of each level, and its top."""
        layers: list[Layer] = self.layer.levels
        if getattr(self, "_made_for", None) is not layers:
            self._made_for = layers
            self._lowerings = [PoolingLowering(self.device, Node.outside(level)) for level in layers]
        return list(zip(self._lowerings, self.layer.pooled, strict=True))

    def _places(self, top: Blob) -> list[Any]:
        return pieces(top.shape, [flat.shape for flat in self.layer.flat], 1)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for (lowering, pooled), plan in zip(self._levels(), self._places(top[0]), strict=True):
            lowering.forward(bottom, [pooled])
            copy(self, plan, pooled.data, top[0].data)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dy, dx = top[0].diff, bottom[0].diff
        sums = self.buffer("sums", dx.shape)
        for number, ((lowering, pooled), plan) in enumerate(zip(self._levels(), self._places(top[0]), strict=True)):
            copy(self, plan.reverse, dy, pooled.diff)
            lowering.backward([pooled], [True], bottom)
            if number:
                weighted_sum(self, dx, sums, sums, 1.0, 1.0)
            else:
                copied(self, dx, sums)
        copied(self, sums, dx)
