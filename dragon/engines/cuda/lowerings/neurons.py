"""Launches elementwise.cu: the families of element-wise layers, Split's gradient, PReLU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dragon.bases.layer import Layer
from dragon.engines.cuda.lowerings.channels import Channels, channel_sums, totals
from dragon.engines.cuda.lowerings.lowering import Lowering, aligned, lowers
from dragon.memory.blob import Blob

__all__ = ["FAMILIES", "FamilyLowering", "PReLULowering", "SplitLowering", "each_of"]

FILE = "elementwise"
CUT = "ReLU6"  # and a ReLU with `relu6`
Settings = tuple[float, ...]

# layer type: the family's name in elementwise.cu, and its settings a, b, c
FAMILIES: dict[str, tuple[str, Callable[[Any], Settings]]] = {
    "ReLU": ("relu", lambda layer: (layer.slope,)),
    CUT: ("cut_relu", lambda layer: (layer.slope, layer.cut)),
    "HardSigmoid": ("hard_sigmoid", lambda layer: ()),
    "HardSwish": ("hard_swish", lambda layer: ()),
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


def each_of(lowering: Lowering, kernel: str, arrays: Sequence[Any], settings: Settings, file: str = FILE) -> None:
    """Launch a kernel (arrays, count, vectors, settings) over all elements."""
    count = arrays[0].size
    vectors = aligned(*arrays)
    lanes = 16 // arrays[0].dtype.itemsize
    lowering.spread(file, kernel, count, *arrays, count, vectors, *settings, each=lanes if vectors else 1)


@lowers(*FAMILIES)
class FamilyLowering(Lowering):
    half = True
    one_type = True

    def _family(self) -> tuple[str, Settings]:
        """The kernels' name and settings."""
        name, settings = FAMILIES[CUT if getattr(self.layer, "cut", None) is not None else self.layer.type]
        given = [float(value) for value in settings(self.layer)]
        return name, tuple([*given, 0.0, 0.0, 0.0][:3])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data, top[0].data
        if top[0] is bottom[0] and self.learns and getattr(self.layer, "needs_input", False):
            kept = self.room("x", x.shape, self.stored)
            each_of(self, "weighted_sum", (x, x, kept), (1.0, 0.0))
        name, settings = self._family()
        each_of(self, f"{name}_forward", (x, y), settings)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0] or self.layer.type == "Threshold":
            return
        y, dy = top[0].data, top[0].diff
        kept = top[0] is bottom[0] and getattr(self.layer, "needs_input", False)
        x = self.room("x", y.shape, self.stored) if kept else bottom[0].data
        name, settings = self._family()
        each_of(self, f"{name}_backward", (x, y, dy, bottom[0].diff), settings)


@lowers("Split")
class SplitLowering(Lowering):
    half = True
    shares = True

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
    half = True

    @classmethod
    def takes(cls, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return bottom[0].count > 0

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, slope = bottom[0].data, self.layer.blobs[0].data
        copy = self.room("x", x.shape, self.stored) if top[0] is bottom[0] and self.learns else None
        self.spread(FILE, "prelu_forward", x.size, x, slope, top[0].data, copy, x.size, slope.size, self.layer.view[2])

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        n, c, s = self.layer.view
        dy, slope = top[0].diff, self.layer.blobs[0]
        x = self.room("x", dy.shape, self.stored) if top[0] is bottom[0] else bottom[0].data
        dx = bottom[0].diff if propagate_down[0] else None
        below = self.room("below", dy.shape)
        self.spread(FILE, "prelu_backward", x.size, x, dy, slope.data, dx, below, x.size, slope.count, s)
        at = Channels.of(self.device, n, c, s) if slope.shape else Channels.of(self.device, 1, 1, n * c * s)
        totals(self.device, at, channel_sums(self.device, at, below), slope.diff, None, unscale=self.unscale)
