"""The probe weight_norm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dragon.probes.arithmetic import norm
from dragon.probes.probe import Probe
from dragon.probes.registry import register
from dragon.probes.run import Run

__all__ = ["WeightNorm"]


@register("weight_norm")
@dataclass(kw_only=True, eq=False)
class WeightNorm(Probe):
    """L2 norm of each learned blob.

    |w| = sqrt(sum of w^2), by blob: conv1, conv1/bias, bn1/gamma, bn1/beta. Cost: reads the weights once.
    """

    def measure(self, run: Run) -> Mapping[str, float]:
        net = run.net
        return {net.key(p): norm(p.blob.peek()) for p in net.net.learnable}
