"""The probe predictiveness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dragon.probes.along import AlongGradient
from dragon.probes.registry import register
from dragon.probes.run import Run

__all__ = ["Predictiveness"]


@register("predictiveness")
@dataclass(kw_only=True, eq=False)
class Predictiveness(AlongGradient):
    """Change of the gradient along itself: how well it predicts the gradient a step away.

    |g(w) - g(w - eta g)| of one probe batch: `min` and `max` over eta from 1/2 to 4 learning rates, `norm` is |g(w)|
    (Santurkar et al. 2018, figure 4b). Cost: as landscape.
    """

    def measure(self, run: Run) -> Mapping[str, float]:
        line = self.line(run)
        changes = [point.change for point in line.points]
        return {"norm": line.norm, "min": np.min(changes), "max": np.max(changes)}  # NaN if one of them is
