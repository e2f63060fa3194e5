"""Names for layers without one: type and number, so that weights, states and random streams can be told apart.

The number counts the unnamed layers of the type in the file. So a train net, a test net and a weights file give
the same layers the same names.
"""

from __future__ import annotations

from collections import Counter

from dragon.proto import dragon_pb2 as pb

__all__ = ["Unnamed", "name_layers"]


class Unnamed:
    """Counts the unnamed layers of one file."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def name(self, kind: str) -> str:
        """The name of the next unnamed layer of a type, such as `(Convolution 2)`."""
        self._seen[kind] += 1
        return f"({kind} {self._seen[kind]})"


def name_layers(net: pb.NetParameter) -> pb.NetParameter:
    """The net itself if all its layers have names, else a copy in which all do."""
    if all(layer.name for layer in net.layer):
        return net
    named, unnamed = pb.NetParameter(), Unnamed()
    named.CopyFrom(net)
    for layer in named.layer:
        layer.name = layer.name or unnamed.name(layer.type)
    return named
