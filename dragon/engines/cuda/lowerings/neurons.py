"""Launches elementwise.cu: the families of element-wise layers, Split's gradient, PReLU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dragon.bases.layer import Layer
from dragon.engines.cuda.kernels import elementwise as kernels
from dragon.engines.cuda.kernels.kernel import Kernel
from dragon.engines.cuda.lowerings.channels import Channels, channel_sums, totals
from dragon.engines.cuda.lowerings.lowering import Lowering, aligned, lowers
from dragon.memory.blob import Blob

__all__ = ["FAMILIES", "FamilyLowering", "PReLULowering", "SplitLowering", "element_wise", "weighted_sum"]

RELU6 = "ReLU6"  # and a ReLU with `relu6`

# layer type: its kernels, and their settings a, b, c
FAMILIES: dict[str, tuple[kernels.Family, Callable[[Any], tuple[float, ...]]]] = {
    "ReLU": (kernels.relu, lambda layer: (layer.slope,)),
    RELU6: (kernels.relu6, lambda layer: (layer.slope, layer.cut)),
    "HardSigmoid": (kernels.hard_sigmoid, lambda layer: ()),
    "HardSwish": (kernels.hard_swish, lambda layer: ()),
    "Sigmoid": (kernels.sigmoid, lambda layer: ()),
    "TanH": (kernels.tanh, lambda layer: ()),
    "AbsVal": (kernels.absval, lambda layer: ()),
    "BNLL": (kernels.bnll, lambda layer: ()),
    "Clip": (kernels.clip, lambda layer: (layer.low, layer.high)),
    "ELU": (kernels.elu, lambda layer: (layer.alpha,)),
    "Exp": (kernels.exponential, lambda layer: (layer.inner, layer.offset)),
    "Log": (kernels.logarithm, lambda layer: (layer.scale, layer.shift, layer.outer)),
    "Power": (kernels.power, lambda layer: (layer.scale, layer.shift, layer.power)),
    "Swish": (kernels.swish, lambda layer: (layer.beta,)),
    "Threshold": (kernels.threshold, lambda layer: (layer.param.threshold_param.threshold,)),
}


def element_wise(
    lowering: Lowering, kernel: Kernel, arrays: Mapping[str, Any], settings: Mapping[str, float]
) -> None:  # fmt: skip
    """Launch a kernel (arrays, count, vectors, settings) over all elements of the arrays, which have one size."""
    some = next(iter(arrays.values()))
    lowering.launch(kernel, **arrays, count=some.size, vectors=aligned(*arrays.values()), **settings)


def weighted_sum(lowering: Lowering, x: Any, y: Any, out: Any, a: float = 1.0, b: float = 0.0) -> None:
    """out = a x + b y; as it stands, a copy of x."""
    element_wise(lowering, kernels.weighted_sum, {"x": x, "y": y, "out": out}, {"a": a, "b": b})


@lowers(*FAMILIES)
class FamilyLowering(Lowering):
    half = True
    one_type = True

    def _family(self) -> tuple[kernels.Family, dict[str, float]]:
        """The kernels and their settings."""
        family, settings = FAMILIES[RELU6 if getattr(self.layer, "cut", None) is not None else self.layer.type]
        given = [float(value) for value in settings(self.layer)]
        return family, dict(zip("abc", [*given, 0.0, 0.0, 0.0], strict=False))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data, top[0].data
        if top[0] is bottom[0] and self.learns and getattr(self.layer, "needs_input", False):
            kept = self.room("x", x.shape, self.stored)
            weighted_sum(self, x, x, kept)
        family, settings = self._family()
        element_wise(self, family.forward, {"x": x, "out": y}, settings)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0] or self.layer.type == "Threshold":
            return
        y, dy = top[0].data, top[0].diff
        kept = top[0] is bottom[0] and getattr(self.layer, "needs_input", False)
        x = self.room("x", y.shape, self.stored) if kept else bottom[0].data
        family, settings = self._family()
        element_wise(self, family.backward, {"x": x, "y": y, "dy": dy, "out": bottom[0].diff}, settings)


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
            weighted_sum(self, first, first, dx)
            return
        weighted_sum(self, first, top[1].diff, dx, 1.0, 1.0)
        for blob in top[2:]:
            weighted_sum(self, dx, blob.diff, dx, 1.0, 1.0)


@lowers("PReLU")
class PReLULowering(Lowering):
    half = True

    @classmethod
    def takes(cls, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return bottom[0].count > 0

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, slope = bottom[0].data, self.layer.blobs[0].data
        copy = self.room("x", x.shape, self.stored) if top[0] is bottom[0] and self.learns else None
        self.launch(
            kernels.prelu_forward, x=x, slope=slope, y=top[0].data, copy=copy, count=x.size, slopes=slope.size,
            spatial=self.layer.view[2],
        )  # fmt: skip

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        n, c, s = self.layer.view
        dy, slope = top[0].diff, self.layer.blobs[0]
        x = self.room("x", dy.shape, self.stored) if top[0] is bottom[0] else bottom[0].data
        dx = bottom[0].diff if propagate_down[0] else None
        below = self.room("below", dy.shape)
        self.launch(
            kernels.prelu_backward, x=x, dy=dy, slope=slope.data, dx=dx, below=below, count=x.size,
            slopes=slope.count, spatial=s,
        )  # fmt: skip
        at = Channels.of(self.device, n, c, s) if slope.shape else Channels.of(self.device, 1, 1, n * c * s)
        totals(self.device, at, channel_sums(self.device, at, below), slope.diff, None, unscale=self.unscale)
