"""Element-wise layers that are one function, by elementwise.cu."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from dragon.engines.cuda.kernels import elementwise as kernels
from dragon.engines.cuda.lowerings.elementwise import copied, element_wise
from dragon.engines.cuda.lowerings.lowering import Lowering, lowers
from dragon.memory.blob import Blob

__all__ = ["Families", "FamilyLowering"]

RELU6 = "ReLU6"  # also the kernels of a ReLU with `relu6`

# layer type: its kernels, and their settings a, b, c
Families = dict[str, tuple[kernels.Family, Callable[[Any], tuple[float, ...]]]]
FAMILIES: Families = {
    "ReLU": (kernels.relu, lambda layer: (layer.slope,)),
    RELU6: (kernels.relu6, lambda layer: (layer.slope, layer.maximum)),
    "HardSigmoid": (kernels.hard_sigmoid, lambda layer: ()),
    "HardSwish": (kernels.hard_swish, lambda layer: ()),
    "Sigmoid": (kernels.sigmoid, lambda layer: ()),
    "TanH": (kernels.tanh, lambda layer: ()),
    "AbsVal": (kernels.absval, lambda layer: ()),
    "BNLL": (kernels.bnll, lambda layer: ()),
    "Clip": (kernels.clip, lambda layer: (layer.low, layer.high)),
    "ELU": (kernels.elu, lambda layer: (layer.alpha,)),
    "Mish": (kernels.mish, lambda layer: ()),
    "Swish": (kernels.swish, lambda layer: (layer.beta,)),
    "Threshold": (kernels.threshold, lambda layer: (layer.param.threshold_param.threshold,)),
}


@lowers(*FAMILIES)
class FamilyLowering(Lowering):
    """A layer whose forward and backward are one family of kernels (FAMILY in elementwise.cu)."""

    families: ClassVar[Families] = FAMILIES
    half = True
    any_layout = True
    one_type = True

    def _family(self) -> tuple[kernels.Family, dict[str, float]]:
        """The kernels and their settings."""
        family, settings = self.families[RELU6 if getattr(self.layer, "maximum", None) is not None else self.layer.type]
        given = [float(value) for value in settings(self.layer)]
        return family, dict(zip("abc", [*given, 0.0, 0.0, 0.0], strict=False))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data, top[0].data
        if top[0] is bottom[0] and self.learns and getattr(self.layer, "needs_input", False):
            kept = self.buffer("x", x.shape, self.stored)
            copied(self, x, kept)
        family, settings = self._family()
        element_wise(self, family.forward, {"x": x, "out": y}, settings)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0] or self.layer.type == "Threshold":
            return
        y, dy = top[0].data, top[0].diff
        kept = top[0] is bottom[0] and getattr(self.layer, "needs_input", False)
        x = self.buffer("x", y.shape, self.stored) if kept else bottom[0].data
        family, settings = self._family()
        element_wise(self, family.backward, {"x": x, "y": y, "dy": dy, "out": bottom[0].diff}, settings)
