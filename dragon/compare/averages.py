"""Several running averages of one training run.

The averaging rule changes what a net is tested with, never how it trains, so one run serves all rules. The net's layers
store the statistics of the latest batch alone (LATEST with decay 1), from which the average of each rule is computed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from dragon.bases.batch_statistics import BatchStatistics, normalization_of
from dragon.errors import PrototxtError
from dragon.graph.net import Net
from dragon.memory.storage import Array
from dragon.normalization.arithmetic import channel_count
from dragon.normalization.rules import Averaging, averaging
from dragon.normalization.settings import Form, Normalization
from dragon.proto import dragon_pb2 as pb

__all__ = ["FRACTIONS", "Averages", "Rule", "follow", "own_rule"]

# The default fraction of a rule: the weight of the history, for LATEST that of the newest batch.
FRACTIONS = {"CAFFE": 0.999, "EMA": 0.95, "CUMULATIVE": 0.0, "LATEST": 0.95}

# {"rule": number of the AverageRule, "fraction": f in dragon.normalization.rules, "decay_statistics": bool}, for JSON
Rule = dict[str, Any]
Running = tuple[tuple[Array, Array], Array]  # (mean, variance), weight


def _moves(settings: Normalization) -> bool:
    """Whether training moves the layer's running statistics."""
    return settings.averages and not settings.by_running(pb.TRAIN)


def _moving(net: pb.NetParameter) -> list[tuple[pb.LayerParameter, Normalization]]:
    pairs = [(layer, normalization_of(layer)) for layer in net.layer]
    return [(layer, settings) for layer, settings in pairs if settings is not None and _moves(settings)]


def own_rule(net: pb.NetParameter) -> Rule:
    """The averaging rule of a net. PrototxtError when it has none or several, or trains with its running average."""
    rules = []
    for layer, settings in _moving(net):
        if layer.profile:
            raise PrototxtError(
                f'layer "{layer.name}" ({layer.type}) is of the dialect {layer.profile}, of which no other average can '
                "be followed; dragon upgrade gives a net of which they can"
            )
        if settings.form is Form.RENORM:
            raise PrototxtError(f'layer "{layer.name}" ({layer.type}) trains by its average: no other can be followed')
        if settings.ghost_batch:
            raise PrototxtError(
                f'layer "{layer.name}" ({layer.type}) has ghost batches: no other average can be followed'
            )
        rule = {"rule": int(settings.rule), "fraction": float(settings.fraction)}
        if rule not in rules:
            rules.append(rule)
    if len(rules) != 1:
        raise PrototxtError(f"averages need one rule in all normalisation layers, the net has {len(rules)}")
    return rules[0]


def follow(net: pb.NetParameter) -> None:
    """Let the normalisation layers of a definition store the statistics of the latest batch alone."""
    for layer, settings in _moving(net):
        if settings.form is Form.BN_PARAM:
            layer.bn_param.momentum = 0
            continue
        layer.batch_norm_param.average = pb.LATEST
        layer.batch_norm_param.decay = 1
        layer.batch_norm_param.ClearField("moving_average_fraction")


class Averages:
    """The running averages of a train net under several rules: `update` after each iteration, `apply` before a test.

    The first rule is the net's own: a layer without a blob for the weight of its average reads it without one.

    With `decay_statistics` the mean and the standard deviation are averaged, and weight decay shrinks both, as in the
    first Dragon, where they were learned blobs with lr_mult = decay_mult = 1 and no gradient. After each iteration, for
    each of them, r:

        v <- momentum v + rate weight_decay r    r <- r - v
    """

    def __init__(self, net: Net, rules: list[Rule]) -> None:
        self.layers: list[BatchStatistics] = []
        self.counts: list[int] = []
        for layer, top in zip(net.layers, net.tops, strict=True):
            if isinstance(layer, BatchStatistics) and _moves(layer.normalization):
                self.layers.append(layer)
                self.counts.append(top[0].count // channel_count(top[0].shape))
        self.rules: list[list[Averaging]] = [[self._averaging(rule, layer) for layer in self.layers] for rule in rules]
        self.running: list[list[Running]] = [[self._zero(layer) for layer in self.layers] for _ in rules]
        # for rules with decay_statistics: the velocities of mean and standard deviation of each layer
        self.velocities: dict[int, list[tuple[Array, Array]]] = {
            index: [self._zero(layer)[0] for layer in self.layers]
            for index, rule in enumerate(rules)
            if rule.get("decay_statistics")
        }

    @staticmethod
    def _averaging(rule: Rule, layer: BatchStatistics) -> Averaging:
        numbers = averaging(rule["rule"], rule["fraction"])
        return replace(numbers, deviation=layer.normalization.eps) if rule.get("decay_statistics") else numbers

    @staticmethod
    def _zero(layer: BatchStatistics) -> Running:
        channels = layer.statistics[0].count
        return (np.zeros(channels, np.float32), np.zeros(channels, np.float32)), np.zeros(1, np.float32)

    def _averages(self, index: int) -> list[tuple[tuple[Array, Array], Array | None]]:
        """For each layer, the averages under rule `index`, with their weight; None for a layer without one."""
        pairs = zip(self.layers, self.running[index], strict=True)
        return [(values, None if index == 0 and layer.statistics[2] is None else w) for layer, (values, w) in pairs]

    def update(self, rate: float = 0.0, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        """Add the statistics of the latest batch, which the layers hold, to all averages; then let weight decay act.

        rate, momentum, weight_decay: of the iteration, for the rules with `decay_statistics`.
        """
        batches = [tuple(blob.peek().reshape(-1) for blob in layer.statistics[:2]) for layer in self.layers]
        for index, rules in enumerate(self.rules):
            for rule, (values, weight), (mean, variance), count in zip(
                rules, self._averages(index), batches, self.counts, strict=True
            ):
                rule.accumulate(values, weight, (mean, variance), count)
        for index, velocities in self.velocities.items():
            for (values, _), pair in zip(self.running[index], velocities, strict=True):
                for value, velocity in zip(values, pair, strict=True):
                    velocity *= momentum
                    velocity += np.float32(rate * weight_decay) * value
                    value -= velocity

    def apply(self, index: int) -> None:
        """Store the averages under rule `index` in the layers; the next training batch replaces them."""
        for layer, rule, (values, weight) in zip(self.layers, self.rules[index], self._averages(index), strict=True):
            layer.set_running(*rule.read(values, weight))

    def state(self) -> dict[str, Any]:
        """All averages as lists of numbers for JSON, which keeps them exactly."""
        return {
            "running": [
                [[values[0].tolist(), values[1].tolist(), weight.tolist()] for values, weight in layers]
                for layers in self.running
            ],
            "velocities": [
                [[mean.tolist(), variance.tolist()] for mean, variance in layers] for layers in self.velocities.values()
            ],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the averages from what `state` returned."""
        for layers, saved in zip(self.running, state["running"], strict=True):
            for (values, weight), lists in zip(layers, saved, strict=True):
                for array, numbers in zip((*values, weight), lists, strict=True):
                    array[...] = numbers
        for velocities, saved in zip(self.velocities.values(), state["velocities"], strict=True):
            for pair, lists in zip(velocities, saved, strict=True):
                for array, numbers in zip(pair, lists, strict=True):
                    array[...] = numbers
