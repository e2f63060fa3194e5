"""The probe adversarial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dragon.bases.layer import TEST
from dragon.memory.storage import Array
from dragon.probes.probe import AT_END, Probe, setting
from dragon.probes.probe_net import Batch, ProbeNet
from dragon.probes.registry import register
from dragon.probes.run import Run
from dragon.probes.statistics import mean_outputs

__all__ = ["Adversarial", "attack"]


@register("adversarial")
@dataclass(kw_only=True, eq=False)
class Adversarial(Probe):
    """Scores of the test net under attack: projected gradient descent in the maximum norm.

    From a random point of the box |x' - x| <= eps: x' <- x' + step * sign(dL / dx'), put back into the box, `steps`
    times (Madry et al. 2018, arXiv 1706.06083). eps is in units of the net's input, behind scale and mean; by default
    8 / 255 of the range of the input. With `clip`, x' is also put back into that range, so that it is an image; the
    range is that of 8-bit images, 0 to 255 behind scale and mean. Where images are of another kind (DummyData,
    HDF5Data, floats in a database), or a mean image is mirrored, the range is not known: then it is that of the images
    of this probe for eps, and nothing is clipped. `clean` and `attacked` are means of each output. Measured at the end.
    Cost: `steps` passes forward and backward over the images.
    """

    every: int = setting(AT_END, "measure after every so many updates; end: only at the end", least=AT_END)
    eps: float | None = setting(None, "half the width of the box, in units of the input; 8 / 255 of the range", least=0)
    steps: int = setting(10, "steps of the attack", least=1)
    step: float | None = setting(None, "length of a step; 2.5 eps / steps by default", least=0)
    clip: bool = setting(True, "keep attacked values in the range of 8-bit images, where it is known")
    batches: int = setting(1, "test batches that are attacked", least=1)
    batch_size: int = setting(0, "images in a batch; 0: as many as in the test net", least=0)

    def measure(self, run: Run) -> Mapping[str, float]:
        net = run.clone(TEST, input_gradients=True)
        batches = [run.batch(k, self.batch_size, TEST) for k in range(self.batches)]
        net.require_loss()
        name = net.images(net.scores())
        values = [batch.arrays[name] for batch in batches]
        limits = run.limits(name, TEST)
        if limits is not None and any((v < limits[0]).any() or (v > limits[1]).any() for v in values):
            limits = None  # records of several kinds
        eps = self.eps
        if eps is None:
            low, high = limits or (min(v.min() for v in values), max(v.max() for v in values))
            eps = 8 / 255 * float(np.max(high - low))
        step = 2.5 * eps / self.steps if self.step is None else self.step
        inside = limits if self.clip else None
        attacked = [
            Batch({**batch.arrays, name: attack(net, batch, name, eps, step, self.steps, inside)}, batch.index)
            for batch in batches
        ]
        found = {f"{output}/clean": value for output, value in mean_outputs(net, batches).items()}
        found |= {f"{output}/attacked": value for output, value in mean_outputs(net, attacked).items()}
        return {**found, "eps": eps}


def attack(
    net: ProbeNet,
    batch: Batch,
    name: str,
    eps: float,
    step: float,
    steps: int,
    limits: tuple[Array, Array] | None = None,
) -> Array:
    """Images within eps of those of a batch (its array `name`) that raise the loss; the start depends on its index.

    limits: the smallest and the largest values that they may have, broadcast to an image; None: any.
    """
    x = batch.arrays[name]
    chance = np.random.default_rng(batch.index)
    low, high = x - x.dtype.type(eps), x + x.dtype.type(eps)
    if limits is not None:
        low, high = np.maximum(low, limits[0]), np.minimum(high, limits[1])
    moved: Array = np.clip(x + chance.uniform(-eps, eps, x.shape).astype(x.dtype), low, high)
    for _ in range(steps):
        net.gradient(Batch({**batch.arrays, name: moved}, batch.index))
        slope = net.net.blobs[name].peek_diff()
        moved = np.clip(moved + x.dtype.type(step) * np.sign(slope), low, high)
    return moved
