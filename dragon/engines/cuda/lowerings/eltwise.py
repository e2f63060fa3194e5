"""Eltwise: products and maxima by eltwise.cu, sums by sums.cu, sums with coefficients by elementwise.cu.

A plain sum is fused with the ReLU in place on it and with the Split behind: the end of a residual network's block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from typing import cast as typed

from dragon.engines.cuda.device.device import Device
from dragon.engines.cuda.kernels import eltwise as kernels
from dragon.engines.cuda.kernels.elementwise import scaled
from dragon.engines.cuda.lowerings.elementwise import element_wise, weighted_sum
from dragon.engines.cuda.lowerings.lowering import Lowering, lowers
from dragon.engines.cuda.lowerings.sums import add, spread
from dragon.graph.node import Node
from dragon.memory.blob import Blob
from dragon.memory.storage import Storage
from dragon.proto import dragon_pb2 as pb

__all__ = ["EltwiseLowering", "FusedSumLowering", "receivers"]

PROD, SUM = pb.EltwiseParameter.PROD, pb.EltwiseParameter.SUM


@lowers("Eltwise")
class EltwiseLowering(Lowering):
    """Eltwise: combines the bottoms one after another, in the order of the layer's array code."""

    half = True
    any_layout = True
    one_type = True

    @property
    def is_plain_sum(self) -> bool:
        """Whether the layer adds its bottoms as they are."""
        return bool(self.layer.operation == SUM and all(c == 1 for c in self.layer.coeff))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        first, second, y = bottom[0].data, bottom[1].data, top[0].data
        if self.is_plain_sum:
            add(self, [blob.data for blob in bottom], y)
        elif self.layer.operation == SUM:
            coeff = [float(c) for c in self.layer.coeff]
            weighted_sum(self, first, second, y, coeff[0], coeff[1])
            for blob, c in zip(bottom[2:], coeff[2:], strict=True):
                weighted_sum(self, y, blob.data, y, 1.0, c)
        elif self.layer.operation == PROD:
            self._multiply(first, second, y)
            for blob in bottom[2:]:
                self._multiply(y, blob.data, y)
        else:
            winner = self._winner(y)
            self.launch(kernels.first_maximum, a=first, b=second, y=y, winner=winner, count=y.size)
            for number, blob in enumerate(bottom[2:], 2):
                self.launch(kernels.next_maximum, x=blob.data, y=y, winner=winner, count=y.size, number=number)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        layer, dy = self.layer, top[0].diff
        outs: list[Any] = [blob.diff for blob in receivers(bottom, self._takes_as_it_is(propagate_down))]
        found = [out for out in outs if out.data.ptr != typed("Any", dy).data.ptr]
        if found:
            spread(self, [dy], found)
        for i in reversed(range(len(bottom))):  # bottom 0 last: in place, its diff is dy
            if not propagate_down[i] or self._takes_as_it_is(propagate_down)[i]:
                continue
            dx = bottom[i].diff
            if layer.operation == SUM:
                settings = {"a": float(layer.coeff[i]), "b": 0.0, "c": 0.0}
                element_wise(self, scaled.backward, {"x": dy, "y": dy, "dy": dy, "out": dx}, settings)
            elif layer.operation != PROD:
                winner = self._winner(dy)
                self.launch(kernels.maximum_backward, dy=dy, winner=winner, dx=dx, count=dx.size, number=i)
            elif layer.stable:
                others = [blob.data for j, blob in enumerate(bottom) if j != i]
                for factor, so_far in zip(others, [dy] + [dx] * (len(others) - 1), strict=True):
                    self._multiply(so_far, factor, dx)
            else:
                x, y = bottom[i].data, top[0].data
                self.launch(kernels.product_backward, x=x, y=y, dy=dy, dx=dx, count=dx.size)

    def _takes_as_it_is(self, propagate_down: Sequence[bool]) -> list[bool]:
        """For each bottom whether its gradient is that of the top: in a sum, with a coefficient of 1."""
        is_sum = self.layer.operation == SUM
        return [flag and is_sum and c == 1 for flag, c in zip(propagate_down, self.layer.coeff, strict=True)]

    def equal_diffs(self) -> Sequence[Storage]:
        node = self.node
        as_it_is = self._takes_as_it_is(node.propagate_down)
        if node.tops[0] in node.bottoms and not self.is_plain_sum:
            return ()  # the top's gradient may be multiplied in place
        return [b.diff_storage for b in receivers([node.tops[0], *node.bottoms], [True, *as_it_is])]

    def _multiply(self, a: Any, b: Any, y: Any) -> None:
        element_wise(self, kernels.product, {"a": a, "b": b, "y": y}, {})

    def _winner(self, like: Any) -> Any:
        """For each element the number of the bottom that has the maximum, int32, from forward to backward."""
        return self.buffer("winner", like.shape, "int32")


def receivers(blobs: Sequence[Blob], wanted: Sequence[bool]) -> list[Blob]:
    """The blobs that receive a gradient, those that share its memory once."""
    return list({id(blob.diff_storage): blob for blob, flag in zip(blobs, wanted, strict=True) if flag}.values())


class FusedSumLowering(EltwiseLowering):
    """A plain sum with what is fused into it.

    slope: of the ReLU in place on the sum; None where there is none. split: whether the last layer is a Split.
    """

    def __init__(self, device: Device, node: Node, slope: float | None, split: bool) -> None:
        super().__init__(device, node)
        self._slope = slope
        self._split = split
        self.overwrites_top_diff = not split

    def on(self, device: Device) -> FusedSumLowering:
        return type(self)(device, self.node, self._slope, self._split)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        add(self, [blob.data for blob in bottom], self.node.tops[0].data, self._slope)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """The sum's own diff is that in front of the ReLU, as where each layer runs by itself."""
        own = self.node.tops[0]
        outs = receivers([own, *bottom], [self._split or self._slope is not None, *propagate_down])
        if outs:
            spread(self, [blob.diff for blob in top], [blob.diff for blob in outs], own.data, self._slope)
