"""The probe landscape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dragon.probes.along import AlongGradient
from dragon.probes.registry import register
from dragon.probes.run import Run

__all__ = ["Landscape"]


@register("landscape")
@dataclass(kw_only=True, eq=False)
class Landscape(AlongGradient):
    """Loss along the gradient.

    L(w - eta g) of one probe batch: `loss` at eta 0, `min` and `max` over eta from 1/2 to 4 learning rates (Santurkar
    et al. 2018, figure 4a). Cost: one pass forward and backward for each point, once for all probes of the same points.
    """

    def measure(self, run: Run) -> Mapping[str, float]:
        line = self.line(run)
        losses = [point.loss for point in line.points]
        return {"loss": line.loss, "min": np.min(losses), "max": np.max(losses)}  # NaN if one of them is
