"""The probe covariate_shift."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from dragon.probes.arithmetic import distance, dot, moved, norm
from dragon.probes.probe import Probe, setting
from dragon.probes.registry import register
from dragon.probes.run import Run

__all__ = ["CovariateShift"]


@register("covariate_shift")
@dataclass(kw_only=True, eq=False)
class CovariateShift(Probe):
    """Internal covariate shift: how a layer's gradient changes when the layers below it are updated.

    G_i is the gradient of layer i's weights, G'_i the same after all learned blobs of the layers before i have taken
    the step -rate * lr_mult * g, both of one probe batch (Santurkar et al. 2018, definition 2.1, with a plain step in
    place of the solver's): `distance` |G_i - G'_i|, `cosine` of the angle between them, `norm` |G_i|. For layers with a
    weight matrix. Random layers (Dropout, NoisyBN) draw the same for both, or anew for G'_i with `fresh_noise`, as they
    would in the next step. Cost: one pass forward and backward for each layer.
    """

    rate: float | None = setting(None, "the learning rate; by default the solver's at that time", least=0)
    fresh_noise: bool = setting(False, "random layers draw anew after the layers below are updated")
    batch_size: int = setting(0, "images in the probe batch; 0: as many as in training", least=0)

    def measure(self, run: Run) -> Mapping[str, float]:
        net, batch, rate = run.net, run.batch(0, self.batch_size), run.rate(self.rate)
        again = replace(batch, index=batch.index + 1) if self.fresh_noise else batch  # the index seeds random layers
        _, before = net.gradient(batch)
        weights, params, found = net.weights(), net.params, {}
        steps = [moved([w], -rate * p.lr_mult, [g])[0] for w, p, g in zip(weights, params, before, strict=True)]
        for layer, k in net.kernels().items():
            first = next(i for i, p in enumerate(params) if p.layer == layer)
            net.set_weights(steps[:first] + weights[first:])
            _, after = net.gradient(again)
            lengths = norm(before[k]) * norm(after[k])
            cosine = dot([before[k]], [after[k]]) / lengths if lengths else math.nan
            found[f"{layer}/distance"] = distance([before[k]], [after[k]])
            found[f"{layer}/cosine"] = cosine
            found[f"{layer}/norm"] = norm(before[k])
        return found
