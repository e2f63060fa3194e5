"""Positions of the normalisations that are inserted, and their names."""

from __future__ import annotations

from collections.abc import Collection

from dragon.surgery.forms import NormalisationType, norm_name, scale_name
from dragon.surgery.identity import Made
from dragon.surgery.model import Note
from dragon.surgery.normalisations import PhaseGraphs
from dragon.surgery.places import overwritten, walk

__all__ = ["find_spots"]


def find_spots(
    graphs: PhaseGraphs, targets: list[int], place: str, kind: NormalisationType, runs: Collection[int], note: Note
) -> list[Made]:
    """The normalisations to make, one for each position; layers of one name have one of one name behind them.

    runs: positions of the layers that run in the state of the model: the statistics are those of their tops.
    """
    net = graphs.net
    taken = {layer.name for layer in net.layer} | {top for layer in net.layer for top in layer.top}
    names: dict[str, tuple[str, str]] = {}
    found: dict[int, Made] = {}
    ends = {norm.index: norm.scales for norm in graphs.normalisations() if norm.scales}
    for index in targets:
        layer = net.layer[index]
        spots = [(spot, spot) for spot in ends.get(index, (index,))]
        if place == "after_activation":
            spots = _behind_activations(graphs, index, note) or spots
        others = [found[spot].name for spot, _ in spots if spot in found and found[spot].layer != layer.name]
        spots = [(spot, like) for spot, like in spots if spot not in found]
        if others:
            note(f"{layer.name}: {others[0]} normalises it too")
        if not spots:
            continue
        behind = " and ".join(dict.fromkeys(net.layer[spot].name for spot, _ in spots))
        if layer.name not in names:
            name = norm_name(kind, layer.name, taken)
            scale = scale_name(name, {name, *taken})
            names[layer.name] = name, scale
            taken |= {name, scale}
            note(f"inserted {name} ({kind.type}) behind {behind}")
        for spot, like in spots:
            measured = spot if spot in runs else like
            found[spot] = Made(index, spot, like, layer.name, net.layer[measured].name, *names[layer.name])
    return list(found.values())


def _behind_activations(graphs: PhaseGraphs, index: int, note: Note) -> list[tuple[int, int]]:
    """Positions of the activations behind a layer, each with that of the layer whose rules to take; none without."""
    net = graphs.net
    partly, activations = overwritten(graphs, index), walk(graphs, index).activations
    if partly is not None:
        at, maker = (net.layer[i].name for i in partly)
        note(f"{at} is in some nets only: the normalisation is behind {maker} in the others")
        return [partly]
    if not activations:
        note(f"{net.layer[index].name}: no activation follows it alone; the normalisation is right behind it")
    return [(spot, spot) for spot in activations]
