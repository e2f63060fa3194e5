"""The probe effective_rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dragon.probes.arithmetic import norm
from dragon.probes.probe import Probe, setting
from dragon.probes.registry import register
from dragon.probes.run import Run

__all__ = ["EffectiveRate"]


@register("effective_rate")
@dataclass(kw_only=True, eq=False)
class EffectiveRate(Probe):
    """Learning rate over the squared norm of the weights, of each layer with a weight matrix.

    rate * lr_mult / |w|^2. Behind such a layer a normalisation makes the loss independent of |w|, and this is the rate
    at which the direction of w learns (van Laarhoven 2017, arXiv 1706.05350). Cost: reads the weights once.
    """

    rate: float | None = setting(None, "the learning rate; by default the solver's at that time", least=0)

    def measure(self, run: Run) -> Mapping[str, float]:
        net, rate, found = run.net, run.rate(self.rate), {}
        for layer, k in net.kernels().items():
            p = net.params[k]
            length = norm(p.blob.peek())
            found[layer] = rate * p.lr_mult / length**2 if length else math.nan
        return found
