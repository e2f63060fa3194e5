"""Launches eltwise.cu: Eltwise's products and maxima; its sums by elementwise.cu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dragon.engines.cuda.lowerings.lowering import Lowering, lowers
from dragon.engines.cuda.lowerings.neurons import each_of
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb

__all__ = ["EltwiseLowering"]

FILE = "eltwise"
PROD, SUM = pb.EltwiseParameter.PROD, pb.EltwiseParameter.SUM


@lowers("Eltwise")
class EltwiseLowering(Lowering):
    """Bottoms are taken two at a time, as in the layer's array code."""

    half = True
    one_type = True

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        first, second, y = bottom[0].data, bottom[1].data, top[0].data
        if self.layer.operation == SUM:
            coeff = [float(c) for c in self.layer.coeff]
            each_of(self, "weighted_sum", (first, second, y), (coeff[0], coeff[1]))
            for blob, c in zip(bottom[2:], coeff[2:], strict=True):
                each_of(self, "weighted_sum", (y, blob.data, y), (1.0, c))
        elif self.layer.operation == PROD:
            each_of(self, "product", (first, second, y), (), FILE)
            for blob in bottom[2:]:
                each_of(self, "product", (y, blob.data, y), (), FILE)
        else:
            winner = self._winner(y)
            self.spread(FILE, "first_maximum", y.size, first, second, y, winner, y.size)
            for number, blob in enumerate(bottom[2:], 2):
                self.spread(FILE, "next_maximum", y.size, blob.data, y, winner, y.size, number)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        layer, dy = self.layer, top[0].diff
        for i in reversed(range(len(bottom))):  # bottom 0 last: in place, its diff is dy
            if not propagate_down[i]:
                continue
            dx = bottom[i].diff
            if layer.operation == SUM:
                each_of(self, "scaled_backward", (dy, dy, dy, dx), (float(layer.coeff[i]), 0.0, 0.0))
            elif layer.operation != PROD:
                self.spread(FILE, "maximum_backward", dx.size, dy, self._winner(dy), dx, dx.size, i)
            elif layer.stable:
                others = [blob.data for j, blob in enumerate(bottom) if j != i]
                for factor, so_far in zip(others, [dy] + [dx] * (len(others) - 1), strict=True):
                    each_of(self, "product", (so_far, factor, dx), (), FILE)
            else:
                x, y = bottom[i].data, top[0].data
                self.spread(FILE, "product_backward", dx.size, x, y, dy, dx, dx.size)

    def _winner(self, like: Any) -> Any:
        """For each element the number of the bottom that has the maximum."""
        return self.room("winner", like.shape, "int32")
