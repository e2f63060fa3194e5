"""The probe drift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dragon.bases.batch_statistics import averages
from dragon.probes.probe import Probe, setting
from dragon.probes.registry import register
from dragon.probes.run import Run
from dragon.probes.statistics import exact_statistics

__all__ = ["Drift"]


@register("drift")
@dataclass(kw_only=True, eq=False)
class Drift(Probe):
    """Running statistics of each batch normalisation against the exact ones of its present weights.

    Exact: mean m and variance v over the images of the probe batches (Ioffe & Szegedy 2015, section 3.1, pooled).
    `mean`: root mean square over the channels of (running mean - m) / sqrt(v + eps). `variance`: mean over the channels
    of |ln((running variance + eps) / (v + eps))|. Cost: one pass forward, layer by layer, for each batch.
    """

    batches: int = setting(10, "probe batches that exact statistics are taken over", least=1)
    batch_size: int = setting(0, "images in a probe batch; 0: as many as in training", least=0)

    def measure(self, run: Run) -> Mapping[str, float]:
        net = run.clone(batch_statistics=True)
        exact = exact_statistics(net, (run.batch(k, self.batch_size) for k in range(self.batches)))
        found = {}
        for layer in run.source().layers:
            if averages(layer) and layer.name in exact:
                (mean, variance), (m, v), eps = layer.peek_running(), exact[layer.name], layer.normalization.eps
                shift = (mean.astype(np.float64) - m) / np.sqrt(v + eps)
                ratio = (variance.astype(np.float64) + eps) / (v + eps)
                found[f"{layer.name}/mean"] = float(np.sqrt((shift**2).mean()))
                found[f"{layer.name}/variance"] = float(abs(np.log(ratio)).mean())
        return found
