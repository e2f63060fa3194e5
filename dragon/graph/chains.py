"""Chains: layers of which each reads, alone, what the one before it made; for all that treat several layers as one.

A graph is made of the nodes of a net, or of the layers of a definition that are present in a phase. `Graph.chain` finds
what stands behind a layer; who asks says which links it takes, and what else it wants of them.

    NORM (SCALE) (RELU)                      one normalisation: engines, merge, split, lint, compare
    WEIGHTED (NORM) (SCALE) (SUM) (RELU)     folded into the weights: oneDNN in TEST, fold
    WEIGHTED NEURON, RELU POOL               oneDNN
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from dragon.bases.batch_statistics import BatchStatistics
from dragon.bases.registry import class_of
from dragon.bases.weighted import Weighted
from dragon.proto import dragon_pb2 as pb

__all__ = ["Chain", "Graph", "Link", "Place", "Written", "is_link", "phases", "written"]


class Link(Enum):
    """What a layer is in a chain."""

    WEIGHTED = auto()  # a convolution, deconvolution or inner product
    NORM = auto()  # a normalisation by the batch
    SCALE = auto()  # a learned Scale
    SUM = auto()  # the plain sum with one other blob
    RELU = auto()  # also with a slope; not ReLU6
    NEURON = auto()  # a neuron whose backward needs only its result
    POOL = auto()  # a maximum pooling


Chain = dict[Link, int]  # the position of each link that was found, in their order


class Place(Protocol):
    """A layer in its place, as `dragon.graph.node.Node` has it."""

    @property
    def index(self) -> int: ...
    @property
    def definition(self) -> pb.LayerParameter: ...
    @property
    def bottom_names(self) -> Sequence[str]: ...
    @property
    def top_names(self) -> Sequence[str]: ...
    @property
    def makes_loss(self) -> bool: ...


@dataclass(frozen=True)
class Written:
    """A layer of a definition."""

    index: int
    definition: pb.LayerParameter

    @property
    def bottom_names(self) -> Sequence[str]:
        return self.definition.bottom

    @property
    def top_names(self) -> Sequence[str]:
        return self.definition.top

    @property
    def makes_loss(self) -> bool:
        """Whether a top counts in the loss by a weight that is written down."""
        return any(self.definition.loss_weight)


def phases(layer: pb.LayerParameter) -> frozenset[int]:
    """Phases a layer is present in, as far as its rules name them."""
    both = frozenset({int(pb.TRAIN), int(pb.TEST)})
    if layer.HasField("phase"):
        return frozenset({int(layer.phase)})
    if layer.include:
        return frozenset(int(r.phase) for r in layer.include if r.HasField("phase")) or both
    gone = {
        int(r.phase)
        for r in layer.exclude
        if r.HasField("phase") and not (r.stage or r.not_stage or r.HasField("min_level") or r.HasField("max_level"))
    }
    return both - gone


def written(net: pb.NetParameter, phase: int) -> list[Written]:
    """The layers of a definition in a phase; their indices are those in `net.layer`."""
    return [Written(i, layer) for i, layer in enumerate(net.layer) if phase in phases(layer)]


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
        case Link.NEURON:
            fits = cls.from_result
        case Link.POOL:
            fits = cls.type == "Pooling" and layer.pooling_param.pool == pb.PoolingParameter.MAX
        case Link.SUM:
            p = layer.eltwise_param
            plain = p.operation == pb.EltwiseParameter.SUM and all(c == 1 for c in p.coeff)
            fits = cls.type == "Eltwise" and plain
    bottoms = 2 if link is Link.SUM else 1
    return fits and len(layer.bottom) == bottoms and len(layer.top) == 1


class Graph:
    """Who makes and who reads the values of a net. A layer in place makes a new value of the old name."""

    def __init__(self, places: Iterable[Place]) -> None:
        self._places = {place.index: place for place in places}
        self._makers: dict[int, list[int | None]] = {}
        self._readers: dict[tuple[int, str], list[int]] = {}
        newest: dict[str, int] = {}
        for i, place in self._places.items():
            self._makers[i] = [newest.get(name) for name in place.bottom_names]
            for name in place.bottom_names:
                if name in newest:
                    self._readers.setdefault((newest[name], name), []).append(i)
            newest.update(dict.fromkeys(place.top_names, i))

    def __contains__(self, index: int) -> bool:
        return index in self._places

    def maker(self, index: int) -> int | None:
        """The layer that made the value which layer `index` reads as its first bottom."""
        makers = self._makers[index]
        return makers[0] if makers else None

    def reader(self, index: int) -> int | None:
        """The one layer that reads, once, the only top of layer `index`; None also if that counts in the loss."""
        place = self._places[index]
        if len(place.top_names) != 1 or place.makes_loss:
            return None
        readers = self._readers.get((index, place.top_names[0]), [])
        return readers[0] if len(readers) == 1 else None

    def chain(
        self,
        first: int,
        links: Sequence[Link],
        takes: Callable[[Link, int], bool] = lambda link, index: True,
        adjacent: bool = False,
    ) -> Chain:
        """Layer `first` as the first of `links`, then those of the others that follow, each behind the last one found.

        takes: whether who asks wants a layer as a link. adjacent: only layers that follow one another in the net.
        Empty if the first link is not there.
        """
        if not (is_link(links[0], self._places[first].definition) and takes(links[0], first)):
            return {}
        found = {links[0]: first}
        last = first
        for link in links[1:]:
            reader = self.reader(last)
            if reader is None or (adjacent and reader != last + 1):
                break
            if is_link(link, self._places[reader].definition) and takes(link, reader):
                found[link] = last = reader
        return found
