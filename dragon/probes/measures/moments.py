"""The probe moments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dragon.probes.probe import Probe, setting
from dragon.probes.registry import register
from dragon.probes.run import Run

__all__ = ["Moments"]


@register("moments")
@dataclass(kw_only=True, eq=False)
class Moments(Probe):
    """Mean, variance, skewness and kurtosis of what each layer gives.

    Over all values of the layer's first top for a probe batch, m_k = mean((x - mean)^k): variance m_2, skewness
    m_3 / m_2^1.5, kurtosis m_4 / m_2^2 (3 for a Gaussian). Losses and accuracies are left out. Cost: one pass forward,
    layer by layer.
    """

    batch_size: int = setting(0, "images in the probe batch; 0: as many as in training", least=0)

    def measure(self, run: Run) -> Mapping[str, float]:
        found: dict[str, float] = {}
        for node in run.net.each_layer(run.batch(0, self.batch_size)):
            if not node.tops or node.tops[0].ndim == 0:
                continue
            x = node.tops[0].peek().astype(np.float64)
            mean = x.mean()
            d = x - mean
            m2, m3, m4 = ((d**k).mean() for k in (2, 3, 4))
            found |= {
                f"{node.name}/mean": mean,
                f"{node.name}/variance": m2,
                f"{node.name}/skewness": m3 / m2**1.5,
                f"{node.name}/kurtosis": m4 / m2**2,
            }
        return found
