"""The probe gradient_quantiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dragon.probes.arithmetic import mean_gradient
from dragon.probes.probe import Probe, setting
from dragon.probes.registry import register
from dragon.probes.run import Run

__all__ = ["GradientQuantiles"]


@register("gradient_quantiles")
@dataclass(kw_only=True, eq=False)
class GradientQuantiles(Probe):
    """Distribution of the gradient of each learned blob: quantiles of its absolute values.

    Of |g_i|, with g the mean gradient of the loss over the probe batches, without weight decay: conv1/q50 is the
    median. Cost: one pass forward and backward for each batch.
    """

    quantiles: tuple[float, ...] = setting((0.05, 0.25, 0.5, 0.75, 0.95), "which quantiles", least=0, most=1)
    batches: int = setting(1, "probe batches that the gradient is taken over", least=1)
    batch_size: int = setting(0, "images in a probe batch; 0: as many as in training", least=0)

    def measure(self, run: Run) -> Mapping[str, float]:
        net = run.net
        found: dict[str, float] = {}
        _, gradient = mean_gradient(net, [run.batch(k, self.batch_size) for k in range(self.batches)])
        for p, g in zip(net.params, gradient, strict=True):
            values = np.quantile(abs(g), self.quantiles)
            found |= {f"{net.key(p)}/q{100 * q:g}": float(v) for q, v in zip(self.quantiles, values, strict=True)}
        return found
