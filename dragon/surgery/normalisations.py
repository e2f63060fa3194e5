"""The batch normalisations of a definition: each layer with the Scale that belongs to it, over all phases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.bases.batch_statistics import normalization_of
from dragon.errors import LayerName, WeightsError
from dragon.graph.chains import Graph, Link, written
from dragon.normalization.settings import Normalization
from dragon.proto import dragon_pb2 as pb
from dragon.surgery.model import Arrays

__all__ = ["Normalisation", "PhaseGraphs", "by_name", "find_normalisations", "same_conditions"]


@dataclass
class Normalisation:
    """One layer of batch normalisation with running statistics, and the Scale that belongs to it."""

    graphs: PhaseGraphs
    index: int
    scales: tuple[int, ...] = ()  # positions of the Scale of a layer without gamma; one for each phase if they differ

    @property
    def net(self) -> pb.NetParameter:
        return self.graphs.net

    @property
    def scale(self) -> int | None:
        """The first of them."""
        return self.scales[0] if self.scales else None

    @property
    def layer(self) -> pb.LayerParameter:
        return self.net.layer[self.index]

    @property
    def last(self) -> pb.LayerParameter:
        """The layer whose top is the result."""
        return self.net.layer[self.index if self.scale is None else self.scale]

    @property
    def settings(self) -> Normalization:
        """What the layer's settings mean."""
        settings = normalization_of(self.layer)
        assert settings is not None
        return settings

    @property
    def affine(self) -> bool:
        """Whether scale and shift are learned, in the layer or in its Scale."""
        return self.scale is not None or self.settings.affine

    def parts(self, arrays: Mapping[str, Arrays]) -> tuple[Arrays, Arrays]:
        """Statistics (mean, variance and perhaps their weight) and affine part (gamma, beta; may be empty), flat.

        WeightsError when the weights have another number of blobs than the layers.
        """
        own = [a.reshape(-1) for a in arrays.get(self.layer.name, [])]
        at = self.settings.blobs
        fine = len(own) == at.count
        statistics, affine = (
            [own[i] for i in indices if i is not None and i < len(own)]
            for indices in ((at.mean, at.variance, at.weight), (at.gamma, at.beta))
        )
        if self.scale is not None:
            affine = [a.reshape(-1) for a in arrays.get(self.last.name, [])]
            bias = self.last.scale_param.bias_term
            fine = fine and len(affine) == 1 + bias
            if fine and not bias:
                affine = [affine[0], np.zeros_like(affine[0])]
        if not fine:
            raise WeightsError(
                f"its weights have {len(own)} blobs"
                + (f', those of "{self.last.name}" {len(affine)}' if self.scale is not None else ""),
                layer=LayerName(self.layer.name, self.layer.type),
            )
        return statistics, affine

    def statistics(self, arrays: Mapping[str, Arrays]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Mean and variance that TEST normalises with, float64."""
        mean, variance, *weight = (a.astype(np.float64) for a in self.parts(arrays)[0])
        return self.settings.averaging.read((mean, variance), weight[0] if weight else None)


class PhaseGraphs:
    """Who reads and makes what in a definition, over all phases."""

    def __init__(self, net: pb.NetParameter) -> None:
        self.net = net
        self.graphs = {phase: Graph(written(net, phase)) for phase in (int(pb.TRAIN), int(pb.TEST))}

    def of(self, index: int) -> list[Graph]:
        """The graphs of the phases in which a layer is present."""
        return [graph for graph in self.graphs.values() if index in graph]

    def only_reader(self, index: int) -> int | None:
        """The one layer that reads the top of layer `index`; of layers of one name in different phases the first."""
        return self._one({graph.reader(index) for graph in self.of(index)})

    def maker(self, index: int) -> int | None:
        """The layer that made the value which layer `index` reads as its first bottom, in the same sense."""
        return self._one({graph.maker(index) for graph in self.of(index)})

    def _one(self, found: set[int | None]) -> int | None:
        known = sorted(index for index in found if index is not None)
        if len(known) < len(found) or len({self.net.layer[i].name for i in known}) != 1:
            return None
        return known[0]

    def normalisations(self) -> list[Normalisation]:
        """Every batch normalisation with running statistics.

        A Scale belongs to one without gamma if it alone reads its top, in every phase. Layers of one name, say one for
        TRAIN and one for TEST, have their weights in common: so have their Scales, or none of them has one.
        """
        found = [
            Normalisation(self, i, self._scales(i, settings))
            for i, layer in enumerate(self.net.layer)
            if (settings := normalization_of(layer)) is not None and settings.averages
        ]
        for norms in by_name(found).values():
            if not self._belong(norms):
                for norm in norms:
                    norm.scales = ()
        return found

    def _scales(self, index: int, settings: Normalization) -> tuple[int, ...]:
        """Positions of the Scales that follow a layer in its phases; none unless there is one in each."""
        if settings.affine:
            return ()

        def takes(link: Link, at: int) -> bool:
            layer, p = self.net.layer[at], self.net.layer[at].scale_param
            return link is Link.NORM or (p.axis == p.num_axes == 1 and same_conditions(self.net.layer[index], layer))

        scales = [graph.chain(index, (Link.NORM, Link.SCALE), takes).get(Link.SCALE) for graph in self.of(index)]
        found = tuple(sorted({at for at in scales if at is not None}))
        return () if None in scales else found

    def _belong(self, norms: list[Normalisation]) -> bool:
        """Whether layers of one name all have a Scale, all alike, which reads them alone in each of its phases."""
        indices, scales = {norm.index for norm in norms}, {at for norm in norms for at in norm.scales}
        if not all(norm.scales for norm in norms) or len({_essence(self.net.layer[at]) for at in scales}) != 1:
            return False
        return all(graph.maker(at) in indices for at in scales for graph in self.of(at))


def _essence(layer: pb.LayerParameter) -> bytes:
    """What two layers of one name must have in common to be one layer in two phases."""
    copy = pb.LayerParameter()
    copy.CopyFrom(layer)
    for name in ("bottom", "include", "exclude", "phase", "blobs"):
        copy.ClearField(name)
    return copy.SerializeToString(deterministic=True)


def same_conditions(a: pb.LayerParameter, b: pb.LayerParameter) -> bool:
    """Whether the rules of two layers name the same stages and levels, whatever their phases."""
    return _conditions(a) == _conditions(b)


def _conditions(layer: pb.LayerParameter) -> list[tuple[str, bytes]]:
    found = []
    for kind in ("include", "exclude"):
        for rule in getattr(layer, kind):
            copy = pb.NetStateRule()
            copy.CopyFrom(rule)
            copy.ClearField("phase")
            found += [(kind, copy.SerializeToString(deterministic=True))] if copy.ListFields() else []
    return found


def by_name(norms: Iterable[Normalisation]) -> dict[str | int, list[Normalisation]]:
    """Normalisations of one name together, in order; one without name stands alone, under its position."""
    found: dict[str | int, list[Normalisation]] = {}
    for norm in norms:
        found.setdefault(norm.layer.name or norm.index, []).append(norm)
    return found


def find_normalisations(net: pb.NetParameter) -> list[Normalisation]:
    """Every batch normalisation with running statistics: see `PhaseGraphs.normalisations`."""
    return PhaseGraphs(net).normalisations()
