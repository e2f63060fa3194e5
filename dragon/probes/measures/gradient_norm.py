"""The probe gradient_norm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dragon.probes.arithmetic import mean_gradient, norm
from dragon.probes.probe import Probe, setting
from dragon.probes.registry import register
from dragon.probes.run import Run

__all__ = ["GradientNorm"]


@register("gradient_norm")
@dataclass(kw_only=True, eq=False)
class GradientNorm(Probe):
    """L2 norm of the gradient of each learned blob.

    |g| with g the mean gradient of the loss over the probe batches, without weight decay; `all` is that of all blobs
    together. Cost: one pass forward and backward for each batch.
    """

    batches: int = setting(1, "probe batches that the gradient is taken over", least=1)
    batch_size: int = setting(0, "images in a probe batch; 0: as many as in training", least=0)

    def measure(self, run: Run) -> Mapping[str, float]:
        net = run.net
        _, gradient = mean_gradient(net, [run.batch(k, self.batch_size) for k in range(self.batches)])
        values = {net.key(p): norm(g) for p, g in zip(net.params, gradient, strict=True)}
        return {**values, "all": norm(*gradient)}
