"""Values of a definition and their names: an in-place layer makes a new value under the old name."""

from __future__ import annotations

from collections.abc import Collection, MutableSequence

from dragon.graph.chains import phases
from dragon.proto import dragon_pb2 as pb

__all__ = ["free_name", "rename_value", "replace_value"]

_Phases = Collection[int]


def free_name(name: str, taken: Collection[str]) -> str:
    """The name, or the first of NAME_2, NAME_3, ... that is not taken."""
    found, number = name, 2
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found


def rename_value(net: pb.NetParameter, start: int, present: _Phases, old: str, new: str) -> None:
    """Let the layers from `start` on, in some phases, read the value `new` where they read `old`.

    What they make of it in place gets the new name too. Ends where another layer makes a value of the old name.
    """
    for layer in net.layer[start:]:
        if not set(present) & phases(layer):
            continue
        reads = old in layer.bottom
        if old in layer.top and not reads:
            return
        _replace(layer.bottom, old, new)
        if reads:
            _replace(layer.top, old, new)


def replace_value(net: pb.NetParameter, start: int, present: _Phases, old: str, new: str) -> None:
    """As rename_value, but a layer that overwrote `old` in place makes it out of `new`, which stays as it is."""
    for layer in net.layer[start:]:
        if not set(present) & phases(layer):
            continue
        _replace(layer.bottom, old, new)
        if old in layer.top:
            return


def _replace(names: MutableSequence[str], old: str, new: str) -> None:
    for i, name in enumerate(names):
        if name == old:
            names[i] = new
