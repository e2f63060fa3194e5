"""The probe smoothness."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dragon.probes.along import AlongGradient
from dragon.probes.registry import register
from dragon.probes.run import Run

__all__ = ["Smoothness"]


@register("smoothness")
@dataclass(kw_only=True, eq=False)
class Smoothness(AlongGradient):
    """Effective beta-smoothness: the largest change of the gradient over the distance moved.

    beta = max over eta of |g(w) - g(w - eta g)| / |eta g| for one probe batch, eta from 1/2 to 4 learning rates
    (Santurkar et al. 2018, figure 4c). Cost: as landscape.
    """

    def measure(self, run: Run) -> Mapping[str, float]:
        line = self.line(run)
        slopes = [p.change / (p.step * line.norm) for p in line.points if p.step * line.norm > 0]
        return {"beta": np.max(slopes) if slopes else math.nan}  # NaN if one of them is
