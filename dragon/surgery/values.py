"""Values of a definition and their names: an in-place layer makes a new value under the old name."""

from __future__ import annotations

from collections.abc import Collection, MutableSequence
from dataclasses import dataclass

from dragon.errors import LayerName, UsageError
from dragon.graph.chains import Graph
from dragon.proto import dragon_pb2 as pb
from dragon.surgery.normalisations import PhaseGraphs
from dragon.surgery.selection import quote

__all__ = ["Readers", "find_readers", "free_name", "rename_readers", "rename_value"]


def free_name(name: str, taken: Collection[str]) -> str:
    """The name, or the first of NAME_2, NAME_3, ... that is not taken."""
    found, number = name, 2
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found


@dataclass
class Readers:
    """Positions of the layers that read a value under its name.

    mixed: those of them that read another value under this name in the net of another phase or stage.
    """

    found: set[int]
    mixed: set[int]


def find_readers(graphs: PhaseGraphs, makers: Collection[int], name: str, through: bool) -> Readers:
    """Who reads, under a name, what layers make; through: or what others make of it in place."""
    found: set[int] = set()
    for graph in graphs.having(makers):
        found |= _derived(graphs.net, graph, makers, name, through)
    mixed: set[int] = set()
    for graph in graphs.having(found):
        mixed |= found.intersection(graph) - _derived(graphs.net, graph, makers, name, through)
    return Readers(found, mixed)


def _derived(net: pb.NetParameter, graph: Graph, makers: Collection[int], name: str, through: bool) -> set[int]:
    found: set[int] = set()
    pending = [index for index in makers if index in graph]
    while pending:
        for reader in graph.readers_of(pending.pop(), name):
            if reader in makers:  # it works in place between the first of them and the last
                continue
            if through and reader not in found and name in net.layer[reader].top:
                pending.append(reader)
            found.add(reader)
    return found


def rename_readers(net: pb.NetParameter, readers: Collection[int], old: str, new: str, through: bool) -> None:
    """Let layers read the value `new` where they read `old`; through: and make what they make in place under it too.

    Else a layer that overwrote `old` makes it out of `new`, which stays as it is.
    """
    for index in readers:
        layer = net.layer[index]
        _replace(layer.bottom, old, new)
        if through:
            _replace(layer.top, old, new)


def rename_value(net: pb.NetParameter, maker: int, old: str, new: str) -> None:
    """Let all readers of what a layer makes, and of what others make of it in place, read `new` in place of `old`.

    Raises UsageError for readers that read another value in the net of another phase or stage.
    """
    readers = find_readers(PhaseGraphs(net), [maker], old, through=True)
    if readers.mixed:
        others = quote(net.layer[index].name for index in sorted(readers.mixed))
        layer = net.layer[maker]
        raise UsageError(
            f'{others} read another "{old}" where another phase or stage lacks it: its top cannot get another name',
            layer=LayerName(layer.name, layer.type),
        )
    rename_readers(net, readers.found, old, new, through=True)


def _replace(names: MutableSequence[str], old: str, new: str) -> None:
    for i, name in enumerate(names):
        if name == old:
            names[i] = new
