"""The values of a net in the order in which they are made, each with a variable of its own while it is needed."""

from __future__ import annotations

from dataclasses import dataclass

from dragon.export.torch.names import Names
from dragon.graph.net import Net
from dragon.layers.split import Split

__all__ = ["Value", "Values"]


@dataclass(eq=False)
class Value:
    """What one layer makes: a blob has several values if layers work on it in place."""

    blob: str
    last: int = -1  # the last layer that reads it
    variable: str = ""


class Values:
    """The values that each layer reads and makes, and those that a module returns."""

    def __init__(self, net: Net, names: Names) -> None:
        current: dict[str, Value] = {}
        self.read: list[list[Value]] = []
        self.made: list[list[Value]] = []
        self.losses: dict[str, tuple[Value, float]] = {}
        for i, node in enumerate(net.nodes):
            bottoms = [current[name] for name in node.bottom_names]
            for value in bottoms:
                value.last = i
            split = isinstance(node.layer, Split)
            tops = [bottoms[0] if split else Value(name) for name in node.top_names]
            current |= zip(node.top_names, tops, strict=True)
            self.read.append(bottoms)
            self.made.append(tops)
            weights = node.loss_weights or [0.0] * len(tops)
            for value, weight in zip(tops, weights, strict=False):
                if weight and not split:
                    self.losses[value.blob] = value, weight
        self.returned = {name: current[name] for name in net.outputs}
        self.returned |= {name: value for name, (value, _) in self.losses.items()}
        for value in self.returned.values():
            value.last = len(net.nodes)
        self._name(names)

    def _name(self, names: Names) -> None:
        holder: dict[str, Value] = {}  # the value that a variable has
        for i, tops in enumerate(self.made):
            for value in tops:
                if value.variable:
                    continue  # of a Split
                variable = names[value.blob]
                if variable in holder and holder[variable].last > i:
                    variable = names.new(value.blob)
                value.variable = variable
                holder[variable] = value
