"""Power, Exp and Log, by elementwise.cu."""

from __future__ import annotations

from dragon.engines.cuda.kernels import elementwise as kernels
from dragon.engines.cuda.lowerings.lowering import lowers
from dragon.engines.cuda.lowerings.neurons import Families, FamilyLowering

__all__ = ["FormulaLowering"]

FAMILIES: Families = {
    "Exp": (kernels.exponential, lambda layer: (layer.inner, layer.offset)),
    "Log": (kernels.logarithm, lambda layer: (layer.scale, layer.shift, layer.outer)),
    "Power": (kernels.power, lambda layer: (layer.scale, layer.shift, layer.power)),
}


@lowers(*FAMILIES)
class FormulaLowering(FamilyLowering):
    """A layer whose function has settings of its own for what goes in and what comes out."""

    families = FAMILIES
