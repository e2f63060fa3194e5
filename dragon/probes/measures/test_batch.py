"""The probe test_batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dragon.bases.layer import TEST
from dragon.probes.probe import AT_END, Probe, setting
from dragon.probes.registry import register
from dragon.probes.run import Run
from dragon.probes.statistics import mean_outputs

__all__ = ["TestBatch"]


@register("test_batch")
@dataclass(kw_only=True, eq=False)
class TestBatch(Probe):
    """Scores of the test net by the size of the test batch: statistics of the batch against running ones.

    The mean of each output over `images` test images: accuracy/running by running statistics, accuracy/batch/10 with
    batch normalisations that use the statistics of test batches of 10. Sizes above `images` are left out, and images
    that do not fill a last batch. Measured at the end. Cost: one pass forward over the images for each size.
    """

    __test__ = False  # no test class, whatever its name begins with

    every: int = setting(AT_END, "measure after every so many updates; end: only at the end", least=AT_END)
    images: int = setting(1000, "how many test images", least=1)
    sizes: tuple[int, ...] = setting((1, 2, 5, 10, 20, 50, 100, 200, 500, 1000), "sizes of the test batch", least=1)

    def measure(self, run: Run) -> Mapping[str, float]:
        sizes = [size for size in self.sizes if size <= self.images]
        if not sizes:
            raise self.wrong(f"all sizes are above images, which is {self.images}")
        size = max(sizes)
        net = run.clone(TEST, batch_statistics=False)
        running = mean_outputs(net, (run.batch(k, size, TEST) for k in range(self.images // size)))
        found = {f"{name}/running": value for name, value in running.items()}
        net = run.clone(TEST, batch_statistics=True)
        for size in sizes:
            batches = (run.batch(k, size, TEST) for k in range(self.images // size))
            found |= {f"{name}/batch/{size}": value for name, value in mean_outputs(net, batches).items()}
        return found
