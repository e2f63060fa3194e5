"""Accuracies of a test with what they are of, and the interval in which they are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.counting import how_many
from dragon.graph.facts import record_count
from dragon.graph.net import Net
from dragon.layers.accuracy import Accuracy
from dragon.tools.common.spread import wilson_interval

__all__ = ["AccuracyInterval", "accuracy_intervals"]


@dataclass(frozen=True)
class AccuracyInterval:
    """An accuracy of `seen` images, of which `different` are different ones; low and high: its 95 % interval.

    The interval is None where an image has several labels, which do not err independently.
    """

    name: str
    value: float
    seen: int
    different: int
    low: float | None
    high: float | None

    @property
    def text(self) -> str:
        """`29.05 % of 10,000 images, 95 % interval 28.2 to 29.9 % (acc)`."""
        others = f" ({self.different:,} different)" if self.different < self.seen else ""
        line = f"{self.value * 100:.2f} % of {how_many(self.seen, 'image')}{others}"
        if self.low is not None and self.high is not None:
            line += f", 95 % interval {self.low * 100:.1f} to {self.high * 100:.1f} %"
        return f"{line} ({self.name})"


def accuracy_intervals(net: Net, mean: Mapping[str, NDArray[Any]], iterations: int) -> list[AccuracyInterval]:
    """The accuracies among the mean outputs of `iterations` batches. Labels that are ignored leave no interval."""
    found = []
    for node in net.nodes:
        layer = node.layer
        if not isinstance(layer, Accuracy) or node.top_names[0] not in mean:
            continue
        outer, _, inner = layer.spans
        seen = outer * iterations
        different = min(seen, record_count(net) or seen)
        value = float(np.clip(mean[node.top_names[0]], 0, 1))
        low, high = wilson_interval(value, different) if inner == 1 and layer.ignore is None else (None, None)
        found.append(AccuracyInterval(node.top_names[0], value, seen, different, low, high))
    return found
