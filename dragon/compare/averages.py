"""Several running averages of one training run.

The rule of the average changes what a net is tested with, never how it trains; so one run serves all rules. Its
layers keep the latest batch alone (LATEST with decay 1), from which each rule's average is followed here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dragon.bases.layer import create
from dragon.bases.normalization import accumulate, channel_count, read_running
from dragon.compare.nets import NORMALISATIONS
from dragon.errors import PrototxtError
from dragon.graph.net import Net
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb

__all__ = ["KEEPS", "Averages", "Rule", "follow", "own_rule"]

# Weight of the history by rule, where a comparison names the rule alone.
KEEPS = {"CAFFE": 0.999, "EMA": 0.95, "CUMULATIVE": 0.0, "LATEST": 0.95}

Rule = dict[str, Any]  # {"rule": number of the AverageRule, "keep": weight of the history}
Running = tuple[tuple[Array, Array], Array]  # (mean, variance), weight


def _layers(net: pb.NetParameter) -> list[pb.LayerParameter]:
    return [layer for layer in net.layer if layer.type in NORMALISATIONS]


def own_rule(net: pb.NetParameter) -> Rule:
    """The rule of a net's normalisation layers. PrototxtError when it has none or several."""
    rules = []
    for param in _layers(net):
        layer: Any = create(param)
        rule = {"rule": int(layer.rule), "keep": float(layer.keep)}
        if rule not in rules:
            rules.append(rule)
    if len(rules) != 1:
        raise PrototxtError(f"averages need one rule in all normalisation layers, the net has {len(rules)}")
    return rules[0]


def follow(net: pb.NetParameter) -> None:
    """Let the normalisation layers of a definition keep the latest batch alone."""
    for layer in _layers(net):
        layer.batch_norm_param.average = pb.LATEST
        layer.batch_norm_param.decay = 1
        layer.batch_norm_param.ClearField("moving_average_fraction")


class Averages:
    """The averages of a train net under some rules: `update` after each iteration, `show` before a test."""

    def __init__(self, net: Net, rules: list[Rule]) -> None:
        self.rules = rules
        self.layers: list[Any] = [layer for layer in net.layers if layer.type in NORMALISATIONS]
        self.counts = [
            top[0].count // channel_count(top[0].shape)
            for layer, top in zip(net.layers, net.tops, strict=True)
            if layer.type in NORMALISATIONS
        ]
        self.running: list[list[Running]] = [[self._zero(layer) for layer in self.layers] for _ in rules]

    @staticmethod
    def _zero(layer: Any) -> Running:
        channels = layer.blobs[layer.mean_index].count
        return (np.zeros(channels, np.float32), np.zeros(channels, np.float32)), np.zeros(1, np.float32)

    def update(self) -> None:
        """Take in the batch that the layers hold."""
        for k, layer in enumerate(self.layers):
            batch = tuple(layer.blobs[i].peek().reshape(-1) for i in (layer.mean_index, layer.variance_index))
            for rule, running in zip(self.rules, self.running, strict=True):
                values, weight = running[k]
                accumulate(rule["rule"], values, weight, (batch[0], batch[1]), self.counts[k], rule["keep"])

    def show(self, index: int) -> None:
        """Put the averages under rule `index` into the layers; the next training batch replaces them."""
        for layer, (values, weight) in zip(self.layers, self.running[index], strict=True):
            layer.set_running(*read_running(self.rules[index]["rule"], values, weight))

    def state(self) -> list[Any]:
        """All averages as JSON can hold them, exactly."""
        return [
            [[values[0].tolist(), values[1].tolist(), weight.tolist()] for values, weight in layers]
            for layers in self.running
        ]

    def load_state(self, state: list[Any]) -> None:
        """Take back what `state` gave."""
        for layers, kept in zip(self.running, state, strict=True):
            for (values, weight), lists in zip(layers, kept, strict=True):
                for array, numbers in zip((*values, weight), lists, strict=True):
                    array[...] = numbers
