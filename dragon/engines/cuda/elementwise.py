"""Launches elementwise.cu: the families of element-wise layers, Eltwise sums, Split's gradient, PReLU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dragon.blob import Blob
from dragon.engines.cuda.channels import Channels, channel_sums, totals
from dragon.engines.cuda.lowering import Lowering, aligned, lowers
from dragon.layer import Layer
from dragon.proto import dragon_pb2 as pb

__all__ = ["FAMILIES", "FamilyLowering", "SumLowering"]

FILE = "elementwise"
Settings = tuple[float, ...]

# layer type: the family's name in elementwise.cu, and its settings a, b, c
FAMILIES: dict[str, tuple[str, Callable[[Any], Settings]]] = {
    "ReLU": ("relu", lambda layer: (layer.slope,)),
    "Sigmoid": ("sigmoid", lambda layer: ()),
    "TanH": ("tanh", lambda layer: ()),
    "AbsVal": ("absval", lambda layer: ()),
    "BNLL": ("bnll", lambda layer: ()),
    "Clip": ("clip", lambda layer: (layer.low, layer.high)),
    "ELU": ("elu", lambda layer: (layer.alpha,)),
    "Exp": ("exponential", lambda layer: (layer.inner, layer.offset)),
    "Log": ("logarithm", lambda layer: (layer.scale, layer.shift, layer.outer)),
    "Power": ("power", lambda layer: (layer.scale, layer.shift, layer.power)),
    "Swish": ("swish", lambda layer: (layer.beta,)),
    "Threshold": ("threshold", lambda layer: (layer.param.threshold_param.threshold,)),
}


def each_of(lowering: Lowering, kernel: str, arrays: Sequence[Any], settings: Settings) -> None:
    """Launch a kernel (arrays, count, vectors, settings) of this file over all elements."""
    count = arrays[0].size
    vectors = aligned(*arrays)
    lanes = 16 // arrays[0].dtype.itemsize
    lowering.spread(FILE, kernel, count, *arrays, count, vectors, *settings, each=lanes if vectors else 1)


@lowers(*FAMILIES)
class FamilyLowering(Lowering):
    @classmethod
    def takes(cls, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return getattr(layer, "cut", None) is None  # ReLU with `relu6`

    def _settings(self) -> Settings:
        given = [float(value) for value in FAMILIES[self.layer.type][1](self.layer)]
        return tuple([*given, 0.0, 0.0, 0.0][:3])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data, top[0].data
        if top[0] is bottom[0] and self.learns and getattr(self.layer, "needs_input", False):
            kept = self.room("x", x.shape)
            each_of(self, "weighted_sum", (x, x, kept), (1.0, 0.0))
        each_of(self, f"{FAMILIES[self.layer.type][0]}_forward", (x, y), self._settings())

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0] or self.layer.type == "Threshold":
            return
        y, dy = top[0].data, top[0].diff
        kept = top[0] is bottom[0] and getattr(self.layer, "needs_input", False)
        x = self.room("x", y.shape) if kept else bottom[0].data
        each_of(self, f"{FAMILIES[self.layer.type][0]}_backward", (x, y, dy, bottom[0].diff), self._settings())


@lowers("Eltwise")
class SumLowering(Lowering):
    """operation SUM; the others run their array code."""

    @classmethod
    def takes(cls, layer: Any, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return bool(layer.operation == pb.EltwiseParameter.SUM)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        coeff = [float(c) for c in self.layer.coeff]
        y = top[0].data
        each_of(self, "weighted_sum", (bottom[0].data, bottom[1].data, y), (coeff[0], coeff[1]))
        for blob, c in zip(bottom[2:], coeff[2:], strict=True):
            each_of(self, "weighted_sum", (y, blob.data, y), (1.0, c))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy = top[0].diff
        for i in reversed(range(len(bottom))):  # bottom 0 last: in place, its diff is dy
            if propagate_down[i]:
                c = float(self.layer.coeff[i])
                each_of(self, "scaled_backward", (dy, dy, dy, bottom[i].diff), (c, 0.0, 0.0))


@lowers("Split")
class SplitLowering(Lowering):
    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The memory is shared."""

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dx, first = bottom[0].diff, top[0].diff
        if len(top) == 1:
            each_of(self, "weighted_sum", (first, first, dx), (1.0, 0.0))
            return
        each_of(self, "weighted_sum", (first, top[1].diff, dx), (1.0, 1.0))
        for blob in top[2:]:
            each_of(self, "weighted_sum", (dx, blob.diff, dx), (1.0, 1.0))


@lowers("PReLU")
class PReLULowering(Lowering):
    @classmethod
    def takes(cls, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return bottom[0].count > 0

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, slope = bottom[0].data, self.layer.blobs[0].data
        copy = self.room("x", x.shape) if top[0] is bottom[0] and self.learns else None
        self.spread(FILE, "prelu_forward", x.size, x, slope, top[0].data, copy, x.size, slope.size, self.layer.view[2])

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        n, c, s = self.layer.view
        dy, slope = top[0].diff, self.layer.blobs[0]
        x = self.room("x", dy.shape) if top[0] is bottom[0] else bottom[0].data
        dx = bottom[0].diff if propagate_down[0] else None
        below = self.room("below", dy.shape)
        self.spread(FILE, "prelu_backward", x.size, x, dy, slope.data, dx, below, x.size, slope.count, s)
        at = Channels.of(self.device, n, c, s) if slope.shape else Channels.of(self.device, 1, 1, n * c * s)
        totals(self.device, at, channel_sums(self.device, at, below), slope.diff, None)
