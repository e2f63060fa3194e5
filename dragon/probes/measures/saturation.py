"""The probe saturation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dragon.memory.storage import Array
from dragon.normalization.arithmetic import by_channel
from dragon.probes.probe import Probe, setting
from dragon.probes.registry import register
from dragon.probes.run import Run

__all__ = ["Saturation"]


@register("saturation")
@dataclass(kw_only=True, eq=False)
class Saturation(Probe):
    """Share of saturated values (sigmoid, tanh) and of dead units (ReLU) of each activation.

    `saturated`: values within `tolerance` times the width of their range of one of its ends. `dead`: channels that are
    at the lower end of the range for all images of a probe batch and all positions. `zero`: values at that end. The
    first for ranges with two ends, the others for those where one is reached (`Layer.top_range`). Cost: one pass
    forward, layer by layer.
    """

    tolerance: float = setting(0.05, "how near to an end is saturated, as a share of the range", least=0, most=0.5)
    batch_size: int = setting(0, "images in the probe batch; 0: as many as in training", least=0)

    def measure(self, run: Run) -> Mapping[str, float]:
        found: dict[str, float] = {}
        for node in run.net.each_layer(run.batch(0, self.batch_size)):
            if node.layer.top_range is not None:
                shares = self._shares(node.tops[0].peek(), *node.layer.top_range)
                found |= {f"{node.name}/{key}": value for key, value in shares.items()}
        return found

    def _shares(self, y: Array, low: float, high: float) -> dict[str, float]:
        if math.isfinite(high):
            margin = self.tolerance * (high - low)
            return {"saturated": float(((y <= low + margin) | (y >= high - margin)).mean())}
        at_end = by_channel(y) <= low
        return {"dead": float(at_end.all(axis=(0, 2)).mean()), "zero": float(at_end.mean())}
