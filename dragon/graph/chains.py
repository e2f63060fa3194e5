"""Chains: layers of which each is the only reader of the one before it, so that they can be treated as one.

A Graph is built from the nodes of a net, or from the layers of a definition that are present in a phase. `Graph.chain`
finds the layers that follow a given one; the caller says which kinds of layers it accepts, and on what conditions.

    NORM (SCALE) (RELU)                      one normalisation: engines, merge, split, lint, compare
    WEIGHTED (NORM) (SCALE) (SUM) (FUNCTION) folded into the weights: oneDNN in TEST
    WEIGHTED NEURON, RELU POOL               oneDNN
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from dragon.bases.batch_statistics import BatchStatistics
from dragon.bases.neuron import Neuron
from dragon.bases.registry import class_of
from dragon.bases.weighted import Weighted
from dragon.proto import dragon_pb2 as pb

__all__ = ["Chain", "DefinedLayer", "Graph", "GraphLayer", "Link", "defined_layers", "is_link", "phases"]


class Link(Enum):
    """What a layer is in a chain."""

    WEIGHTED = auto()  # a convolution, deconvolution or inner product
    NORM = auto()  # a normalisation by the batch
    SCALE = auto()  # a learned Scale
    SUM = auto()  # the plain sum with one other blob
    RELU = auto()  # also with a slope; not ReLU6
    FUNCTION = auto()  # an element-wise layer, which ReLU is as well
    NEURON = auto()  # an element-wise layer whose backward needs only its top
    POOL = auto()  # max pooling


Chain = dict[Link, int]  # the index of the layer found for each link, in the order of the links


class GraphLayer(Protocol):
    """A layer of a graph: a `dragon.graph.node.Node` of a net, or a DefinedLayer."""

    @property
    def index(self) -> int:
        """Position in the net or in the definition."""

    @property
    def definition(self) -> pb.LayerParameter:
        """The layer's parameter."""

    @property
    def bottom_names(self) -> Sequence[str]:
        """Names of the bottoms, in order."""

    @property
    def top_names(self) -> Sequence[str]:
        """Names of the tops, in order."""

    @property
    def makes_loss(self) -> bool:
        """Whether a top counts in the loss."""


@dataclass(frozen=True)
class DefinedLayer:
    """A layer of a definition that has not been made into a net."""

    index: int
    definition: pb.LayerParameter

    @property
    def bottom_names(self) -> Sequence[str]:
        """Names of the bottoms, in order."""
        return self.definition.bottom

    @property
    def top_names(self) -> Sequence[str]:
        """Names of the tops, in order."""
        return self.definition.top

    @property
    def makes_loss(self) -> bool:
        """Whether a top has a loss weight in the definition."""
        return any(self.definition.loss_weight)


def phases(layer: pb.LayerParameter) -> frozenset[int]:
    """Phases that a layer is present in, as far as its rules depend on the phase alone, not on stages or levels.

    Its field `phase` is no rule: it says how the layer runs in a net of either phase.
    """
    both = frozenset({int(pb.TRAIN), int(pb.TEST)})
    if layer.include:
        alone = all(r.HasField("phase") for r in layer.include)
        return frozenset(int(r.phase) for r in layer.include) if alone else both
    excluded = {
        int(r.phase)
        for r in layer.exclude
        if r.HasField("phase") and not (r.stage or r.not_stage or r.HasField("min_level") or r.HasField("max_level"))
    }
    return both - excluded


def defined_layers(net: pb.NetParameter, phase: int) -> list[DefinedLayer]:
    """The layers of a definition in a phase, of all stages; their indices are those in `net.layer`."""
    return [DefinedLayer(i, layer) for i, layer in enumerate(net.layer) if phase in phases(layer)]


def is_link(link: Link, layer: pb.LayerParameter) -> bool:
    """Whether a layer can be this link of a chain."""
    cls = class_of(layer)
    match link:
        case Link.WEIGHTED:
            fits = issubclass(cls, Weighted)
        case Link.NORM:
            fits = issubclass(cls, BatchStatistics)
        case Link.SCALE:
            fits = cls.type == "Scale"
        case Link.RELU:
            fits = cls.type == "ReLU" and not layer.relu_param.relu6
        case Link.FUNCTION:
            fits = issubclass(cls, Neuron)
        case Link.NEURON:
            fits = cls.backward_from_top
        case Link.POOL:
            fits = cls.type == "Pooling" and layer.pooling_param.pool == pb.PoolingParameter.MAX
        case Link.SUM:
            p = layer.eltwise_param
            plain = p.operation == pb.EltwiseParameter.SUM and all(c == 1 for c in p.coeff)
            fits = cls.type == "Eltwise" and plain
    bottoms = 2 if link is Link.SUM else 1
    return fits and len(layer.bottom) == bottoms and len(layer.top) == 1


class Graph:
    """Which layers make and which read each value of a net. An in-place layer makes a new value under the old name."""

    def __init__(self, layers: Iterable[GraphLayer]) -> None:
        self._layers = {layer.index: layer for layer in layers}
        self._makers: dict[int, list[int | None]] = {}
        self._readers: dict[tuple[int, str], list[int]] = {}
        newest: dict[str, int] = {}
        for i, layer in self._layers.items():
            self._makers[i] = [newest.get(name) for name in layer.bottom_names]
            for name in layer.bottom_names:
                if name in newest:
                    self._readers.setdefault((newest[name], name), []).append(i)
            newest.update(dict.fromkeys(layer.top_names, i))

    def __contains__(self, index: int) -> bool:
        return index in self._layers

    def __iter__(self) -> Iterator[int]:
        return iter(self._layers)

    def maker(self, index: int) -> int | None:
        """The layer that made the value which layer `index` reads as its first bottom."""
        makers = self._makers[index]
        return makers[0] if makers else None

    def readers_of(self, index: int, name: str) -> list[int]:
        """The layers that read the top of this name of layer `index`, in order."""
        return list(dict.fromkeys(self._readers.get((index, name), [])))

    def reader(self, index: int) -> int | None:
        """The only layer that reads, once, the single top of layer `index`.

        None if there is no such layer, the layer has several tops, or its top counts in the loss.
        """
        layer = self._layers[index]
        if len(layer.top_names) != 1 or layer.makes_loss:
            return None
        readers = self._readers.get((index, layer.top_names[0]), [])
        return readers[0] if len(readers) == 1 else None

    def readers(self, index: int) -> list[int]:
        """The layers that read a top of layer `index`, each once, in order."""
        found = [i for name in self._layers[index].top_names for i in self._readers.get((index, name), [])]
        return sorted(set(found))

    def chain(
        self,
        first: int,
        links: Sequence[Link],
        takes: Callable[[Link, int], bool] = lambda link, index: True,
        adjacent: bool = False,
    ) -> Chain:
        """Layer `first` as the first of `links`, then layers for later links, each the reader of the one found before.

        A link that does not fit is passed over. takes: whether the caller accepts the layer of an index as a link.
        adjacent: accept only layers with consecutive indices. Empty if layer `first` is not the first link.
        """
        if not (is_link(links[0], self._layers[first].definition) and takes(links[0], first)):
            return {}
        found = {links[0]: first}
        last = first
        for link in links[1:]:
            reader = self.reader(last)
            if reader is None or (adjacent and reader != last + 1):
                break
            if is_link(link, self._layers[reader].definition) and takes(link, reader):
                found[link] = last = reader
        return found
