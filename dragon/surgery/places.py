"""Where a normalisation goes: behind which layers, before or after their activations."""

from __future__ import annotations

from dataclasses import dataclass

from dragon.bases.rcnn_settings import meant_type
from dragon.bases.registry import class_of, create, find_class
from dragon.bases.weighted import Weighted
from dragon.graph.chains import Graph
from dragon.layers.lrn import LRN
from dragon.layers.pooling import Pooling
from dragon.proto import dragon_pb2 as pb
from dragon.surgery.forms import is_normalisation
from dragon.surgery.normalisations import PhaseGraphs

__all__ = ["PLACES", "Walk", "ends_net", "only_looked_up", "overwritten", "walk"]

PLACES = ("before_activation", "after_activation")


@dataclass(frozen=True)
class Walk:
    """What follows a layer as far as each value has one reader: pooling and LRN, then an activation, such things again.

    Positions in the definition; one for each phase that differs. activations: empty if there is none in some phase.
    norm: the first normalisation met; None without.
    """

    activations: tuple[int, ...]
    norm: int | None


def walk(graphs: PhaseGraphs, index: int) -> Walk:
    """What follows a layer in all phases that it is present in."""
    activations: list[int | None] = []
    norms: list[int] = []
    for graph in graphs.of(index):
        activation, norm = _follow(graphs.net, graph, index)
        activations.append(activation)
        norms += [] if norm is None else [norm]
    found = sorted({at for at in activations if at is not None})
    return Walk(tuple(found) if None not in activations else (), norms[0] if norms else None)


def overwritten(graphs: PhaseGraphs, index: int) -> tuple[int, int] | None:
    """An activation that is in some nets only, by phase or stage, and the layer behind which it works in place.

    A normalisation behind the activation with the rules of the other layer is behind both in every net. None where the
    activation is in all nets, where there is none, and where such a normalisation would miss a reader.
    """
    net = graphs.net
    follows = [(graph, _follow(net, graph, index)[0]) for graph in graphs.of(index)]
    found = {at for _, at in follows if at is not None}
    if len(found) != 1:
        return None
    (at,) = found
    layer = net.layer[at]
    if list(layer.top) != list(layer.bottom):
        return None
    makers = {graph.maker(at) for graph, activation in follows if activation is not None}
    maker = makers.pop()
    if makers or maker is None:
        return None
    without = [graph for graph, activation in follows if activation is None]
    if not without:
        return None
    missed = any(maker not in graph or any(reader < at for reader in graph.readers(maker)) for graph in without)
    return None if missed else (at, maker)


def _follow(net: pb.NetParameter, graph: Graph, index: int) -> tuple[int | None, int | None]:
    activation, at = None, graph.reader(index)
    while at is not None:
        layer = net.layer[at]
        if is_normalisation(layer):
            return activation, at
        if class_of(layer).is_activation and len(layer.bottom) == 1:
            if activation is not None:
                break
            activation = at
        elif not issubclass(class_of(layer), Pooling | LRN):
            break
        at = graph.reader(at)
    return activation, None


def ends_net(graphs: PhaseGraphs, index: int) -> bool:
    """Whether no layer with weights depends on the top of a layer: it makes what the net is for, such as scores."""
    for graph in graphs.of(index):
        seen, pending = {index}, [index]
        while pending:
            for reader in graph.readers(pending.pop()):
                if issubclass(class_of(graphs.net.layer[reader]), Weighted):
                    return False
                if reader not in seen:
                    seen.add(reader)
                    pending.append(reader)
    return True


def only_looked_up(graphs: PhaseGraphs, index: int) -> str:
    """The name of a reader of the top of a layer, if none has a gradient for it, as for labels, indices and regions.

    Empty for a top that nobody reads, and where a Python layer or one of an unknown type may have a gradient.
    """
    net, top = graphs.net, graphs.net.layer[index].top[0]
    readers = sorted({reader for graph in graphs.of(index) for reader in graph.readers(index)})
    for reader in readers:
        layer = pb.LayerParameter()
        layer.CopyFrom(net.layer[reader])
        layer.type = meant_type(layer)
        if layer.type == "Python" or find_class(layer.type) is None:
            return ""
        made = create(layer)
        if any(made.can_propagate(k) for k, name in enumerate(layer.bottom) if name == top):
            return ""
    return net.layer[readers[0]].name if readers else ""
