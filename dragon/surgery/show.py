"""What the batch normalisations of a trained net do: statistics, scale and shift of each channel, and dead channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.bases.batch_statistics import BatchStatistics
from dragon.bases.registry import class_of
from dragon.data.progress import Progress, silent
from dragon.errors import UsageError, WeightsError
from dragon.graph.chains import phases
from dragon.graph.net import Net
from dragon.layers.relu import ReLU
from dragon.normalization.arithmetic import by_channel
from dragon.proto import dragon_pb2 as pb
from dragon.surgery.model import Model, Note, silent_note
from dragon.surgery.normalisations import Normalisation, PhaseGraphs, by_name
from dragon.surgery.places import walk
from dragon.surgery.prove import test_by_running
from dragon.surgery.recalibrate import recalibrate

__all__ = ["Shown", "measure_drift", "show"]

_SMALL_SCALE = 1e-3
_RARELY = -3.09  # a standard normal value is above 3.09 once in a thousand times


@dataclass
class Shown:
    """One batch normalisation as TEST computes it. Arrays are (C,), float64.

    A channel is dead by `scale`: |gamma| < 0.001, so that the output is beta; by `variance`: the variance is below eps,
    so that eps decides; by `nan`: one of its numbers is NaN or infinite; by `negative`: a ReLU follows that lets
    nothing through. The last is known for the data that was measured; without any it is taken from beta and gamma, as
    if the values were Gaussian.
    """

    name: str
    type: str
    rule: str
    fraction: float
    eps: float
    mean: NDArray[Any]
    variance: NDArray[Any]
    gamma: NDArray[Any]
    beta: NDArray[Any]
    before_relu: bool  # a ReLU without slope follows
    last: str  # the layer that makes the result: this one, or its Scale
    exact: tuple[NDArray[Any], NDArray[Any]] | None = None  # mean and variance of the data, if measured
    largest: NDArray[Any] | None = None  # the largest output of each channel in TEST, if measured
    dead: dict[str, list[int]] = field(default_factory=dict)

    @property
    def eps_share(self) -> float:
        """The part of eps in variance + eps, for the channel with the smallest variance."""
        total = float(self.variance.min()) + self.eps
        return self.eps / total if total else 0.0

    @property
    def mean_drift(self) -> float | None:
        """The largest distance of a running mean from the exact one, in standard deviations; None if not measured."""
        if self.exact is None:
            return None
        return float((np.abs(self.exact[0] - self.mean) / np.sqrt(self.exact[1] + self.eps)).max())

    @property
    def variance_drift(self) -> tuple[float, float] | None:
        """The smallest and largest ratio of exact and running variance, each with eps; None if not measured."""
        if self.exact is None:
            return None
        ratio = (self.exact[1] + self.eps) / (self.variance + self.eps)
        return float(ratio.min()), float(ratio.max())

    def judge(self) -> None:
        """Find the dead channels."""
        negative = self.beta < _RARELY * np.abs(self.gamma) if self.largest is None else self.largest <= 0
        found = {
            "scale": np.abs(self.gamma) < _SMALL_SCALE,
            "variance": self.variance < self.eps,
            "nan": ~np.isfinite([self.mean, self.variance, self.gamma, self.beta]).all(axis=0),
            "negative": negative & self.before_relu,
        }
        self.dead = {why: [int(i) for i in np.flatnonzero(flags)] for why, flags in found.items() if flags.any()}

    @property
    def dead_count(self) -> int:
        """How many channels are dead for any reason."""
        return len({channel for channels in self.dead.values() for channel in channels})


def show(model: Model, note: Note = silent_note) -> list[Shown]:
    """Every batch normalisation of a model with weights, in order; layers of one name count once.

    note: reports those that have no weights. Raises UsageError for a net without any and for a model without weights,
    WeightsError for weights that do not fit or are of none of them.
    """
    graphs = PhaseGraphs(model.net)
    groups = by_name(graphs.normalisations())
    if not groups:
        raise UsageError(f'net "{model.net.name}" has no batch normalisation with running statistics')
    if not model.arrays:
        raise UsageError("showing batch normalisation needs the weights")
    found = []
    for norms in groups.values():
        norm = next((n for n in norms if pb.TEST in phases(n.layer)), norms[0])
        if norm.layer.name in model.arrays:
            found.append(_shown(model, graphs, norm))
        else:
            note(f"left {norm.layer.name}: the weights have none for it")
    if not found:
        raise WeightsError(f"the weights have none for a batch normalisation of the net: {', '.join(map(str, groups))}")
    return found


def _shown(model: Model, graphs: PhaseGraphs, norm: Normalisation) -> Shown:
    mean, variance = norm.statistics(model.arrays)
    affine = [a.astype(np.float64) for a in norm.parts(model.arrays)[1]]
    gamma, beta = affine or (np.ones_like(mean), np.zeros_like(mean))
    last = norm.index if norm.scale is None else norm.scale
    activations = [model.net.layer[at] for at in walk(graphs, last).activations]
    relu = bool(activations) and all(_lets_nothing_negative_through(layer) for layer in activations)
    s = norm.settings
    shown = Shown(
        norm.layer.name, norm.layer.type, pb.AverageRule.Name(s.rule), s.fraction, s.eps, mean, variance, gamma, beta,
        relu, model.net.layer[last].name,
    )  # fmt: skip
    shown.judge()
    return shown


def _lets_nothing_negative_through(layer: pb.LayerParameter) -> bool:
    return issubclass(class_of(layer), ReLU) and not layer.relu_param.negative_slope


def measure_drift(shown: Sequence[Shown], net: Net, batches: int, progress: Progress = silent) -> None:
    """Measure exact statistics and largest outputs over batches of a net in TRAIN that has the weights.

    Of layers that TRAIN lacks nothing is measured. The net is changed: its statistics are the exact ones afterwards.
    """
    before = [layer.phase for layer in net.layers]
    test_by_running(net)
    by_last = {one.last: one for one in shown}
    nodes = [node for node in net.nodes if node.name in by_last]
    for batch in range(batches):
        begin = 0
        for node in nodes:
            net.run_forward(begin, node.index)
            begin = node.index + 1
            one = by_last[node.name]
            top = by_channel(node.tops[0].peek()).max(axis=(0, 2)).astype(np.float64)
            one.largest = top if one.largest is None else np.maximum(one.largest, top)
        progress("batches in TEST", batch + 1, batches)
    for layer, phase in zip(net.layers, before, strict=True):
        layer.phase = phase
    recalibrate(net, batches, progress)
    layers = net.layer_dict
    for one in shown:
        found = layers.get(one.name)
        if not isinstance(found, BatchStatistics):  # TRAIN has no such layer
            continue
        mean, variance = found.peek_running()
        one.exact = np.asarray(mean, np.float64), np.asarray(variance, np.float64)
        one.judge()
