"""The probe gradient_norm."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dragon.probes.arithmetic import mean_gradient, norm
from dragon.probes.probe import Probe, setting
from dragon.probes.registry import register
from dragon.probes.run import Run

__all__ = ["GradientNorm"]

WEIGHTS, OUTPUTS = "weights", "outputs"


@register("gradient_norm")
@dataclass(kw_only=True, eq=False)
class GradientNorm(Probe):
    """L2 norm of the gradient, of each learned blob or of what each layer gives.

    Of weights: |g| with g the mean gradient of the loss over the probe batches, without weight decay; `all` is that of
    all blobs together. Of outputs: the root mean square over the batches of |dL / dy| for each blob y, by the layer
    that makes it; at initialisation its square grows by pi / (pi - 1) for each layer with batch normalisation and
    ReLU, from the top down (Yang et al. 2019, arXiv 1902.08129). Cost: one pass forward and backward for each batch.
    """

    of: str = setting(WEIGHTS, "weights or outputs")
    batches: int = setting(1, "probe batches that the gradient is taken over", least=1)
    batch_size: int = setting(0, "images in a probe batch; 0: as many as in training", least=0)

    def check(self) -> None:
        if self.of not in (WEIGHTS, OUTPUTS):
            raise self.wrong(f'of is weights or outputs, got "{self.of}"')

    def measure(self, run: Run) -> Mapping[str, float]:
        net = run.net
        batches = [run.batch(k, self.batch_size) for k in range(self.batches)]
        if self.of == WEIGHTS:
            _, gradient = mean_gradient(net, batches)
            values = {net.key(p): norm(g) for p, g in zip(net.params, gradient, strict=True)}
            return {**values, "all": norm(*gradient)}
        squares: dict[str, float] = {}
        for batch in batches:
            net.gradient(batch)
            for node in net.makers():
                squares[node.name] = squares.get(node.name, 0.0) + norm(node.tops[0].peek_diff()) ** 2
        return {name: math.sqrt(total / len(batches)) for name, total in squares.items()}
