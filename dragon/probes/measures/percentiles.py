"""The probe percentiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dragon.normalization.arithmetic import by_channel
from dragon.probes.probe import Probe, setting
from dragon.probes.registry import register
from dragon.probes.run import Run

__all__ = ["Percentiles"]


@register("percentiles")
@dataclass(kw_only=True, eq=False)
class Percentiles(Probe):
    """Percentiles of the values of single units.

    The values of a unit (a channel) over the images of a probe batch and all positions; linear between neighbours. The
    15th, 50th and 85th of the input of a sigmoid are figure 1 of Ioffe & Szegedy 2015. Cost: one pass forward.
    """

    layer: str = setting("", "take what this layer gives; by default the layer that makes the scores")
    input_of: str = setting("", "take what this layer is given, its first bottom, in place of `layer`")
    blob: str = setting("", "take this blob after the whole pass, in place of `layer`")
    units: tuple[int, ...] = setting((0,), "channels, counted from 0", least=0)
    percentiles: tuple[float, ...] = setting((15.0, 50.0, 85.0), "which percentiles", least=0, most=100)
    batch_size: int = setting(0, "images in the probe batch; 0: as many as in training", least=0)

    def check(self) -> None:
        given = [name for name in ("layer", "input_of", "blob") if getattr(self, name)]
        if len(given) > 1:
            raise self.wrong(f"give {given[0]} or {given[1]}, not both")

    def measure(self, run: Run) -> Mapping[str, float]:
        net, batch = run.net, run.batch(0, self.batch_size)
        net.load(batch)
        if self.blob:
            name, value = self.blob, net.blob(self.blob)
            net.net.run_forward()
        elif self.input_of:
            node = net.node(self.input_of)
            if not node.bottoms or not node.index:
                raise self.wrong(f'"{self.input_of}" is given nothing')
            name, value = node.name, node.bottoms[0]
            net.net.run_forward(0, node.index - 1)
        else:
            node = net.node(self.layer) if self.layer else net.scores()
            name, value = node.name, node.tops[0]
            net.net.run_forward(0, node.index)
        if not value.count or not value.ndim:
            raise self.wrong(f'"{name}" of shape {value.shape} has no units')
        channels = by_channel(value.peek())
        count = channels.shape[1]
        if max(self.units) >= count:
            raise self.wrong(f'unit {max(self.units)} of "{name}", which has {count}, counted from 0')
        found: dict[str, float] = {}
        for unit in self.units:
            values = np.percentile(channels[:, unit].astype(np.float64), self.percentiles)
            found |= {f"{name}/{unit}/p{p:g}": float(v) for p, v in zip(self.percentiles, values, strict=True)}
        return found
