"""Power, Exp, Log and SeLU, by elementwise.cu."""

from __future__ import annotations

from dragon.engines.cuda.kernels import elementwise as kernels
from dragon.engines.cuda.lowerings.lowering import lowers
from dragon.engines.cuda.lowerings.neurons import Families, FamilyLowering

__all__ = ["FormulaLowering"]

FAMILIES: Families = {
    "Exp": (kernels.exponential, lambda layer: (layer.inner, layer.offset)),
    "Log": (kernels.logarithm, lambda layer: (layer.scale, layer.shift, layer.outer)),
    "Power": (kernels.power, lambda layer: (layer.scale, layer.shift, layer.power)),
    "SeLU": (kernels.selu, lambda layer: (layer.alpha, layer.scale)),
}


@lowers(*FAMILIES)
class FormulaLowering(FamilyLowering):
    """Power, Exp, Log and SeLU: a function with a scale and a shift inside it, and a factor outside."""

    families = FAMILIES
