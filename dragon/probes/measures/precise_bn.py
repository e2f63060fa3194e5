"""The probe precise_bn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dragon.bases.batch_statistics import averages
from dragon.bases.layer import TEST
from dragon.probes.probe import AT_END, Probe, setting
from dragon.probes.probe_net import ProbeNet
from dragon.probes.registry import register
from dragon.probes.run import Run
from dragon.probes.statistics import exact_statistics, mean_outputs

__all__ = ["PreciseBN"]


@register("precise_bn")
@dataclass(kw_only=True, eq=False)
class PreciseBN(Probe):
    """Scores of the test net with exact statistics, by the number of training images that these are taken from.

    The mean of each output over `images` test images: accuracy/running as the net is, accuracy/1000 with mean and
    variance over 1000 images of the training set, pooled (Wu & Johnson 2021, arXiv 2105.07576; the batches have the
    size of training, so a number is rounded up to whole ones). Measured at the end. Cost: for each number a pass over
    so many training images, layer by layer, and one over the test images.
    """

    every: int = setting(AT_END, "measure after every so many updates; end: only at the end", least=AT_END)
    samples: tuple[int, ...] = setting((100, 1000, 10000), "numbers of training images", least=1)
    images: int = setting(1000, "how many test images, rounded up to whole test batches", least=1)

    def measure(self, run: Run) -> Mapping[str, float]:
        if not any(averages(layer) for layer in run.source(TEST).layers):
            return {}
        first = run.batch(0, phase=TEST).extent
        count = -(-self.images // first)
        net = run.clone(TEST, batch_statistics=False)
        found = {f"{name}/running": value for name, value in self._scores(run, net, count).items()}
        size = run.batch(0).extent
        for samples in self.samples:
            batches = (run.batch(k) for k in range(-(-samples // size)))
            exact = exact_statistics(run.clone(batch_statistics=True), batches)
            net = run.clone(TEST, batch_statistics=False)
            net.set_statistics(exact)
            found |= {f"{name}/{samples}": value for name, value in self._scores(run, net, count).items()}
        return found

    @staticmethod
    def _scores(run: Run, net: ProbeNet, count: int) -> Mapping[str, float]:
        return mean_outputs(net, (run.batch(k, phase=TEST) for k in range(count)))
