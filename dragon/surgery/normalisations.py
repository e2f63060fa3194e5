"""The batch normalisations of a definition over all phases and stages: each layer with the Scale that belongs to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.bases.batch_statistics import normalization_of
from dragon.counting import how_many
from dragon.errors import LayerName, PrototxtError, WeightsError
from dragon.graph.chains import DefinedLayer, Graph, Link, defined_layers
from dragon.graph.states import is_wired, present, states
from dragon.normalization.settings import Form, Normalization
from dragon.proto import dragon_pb2 as pb
from dragon.surgery.model import Arrays
from dragon.surgery.rules import same_conditions

__all__ = [
    "Normalisation",
    "PhaseGraphs",
    "by_name",
    "check_ends",
    "find_normalisations",
]

_BATCH_NORM, _BN = 3, 5  # blobs of the usual forms


@dataclass
class Normalisation:
    """One layer of batch normalisation with running statistics, and the Scale that belongs to it."""

    graphs: PhaseGraphs
    index: int
    scales: tuple[int, ...] = ()  # positions of its Scale; several if phases or stages have different ones

    @property
    def net(self) -> pb.NetParameter:
        """The definition that the layer is in."""
        return self.graphs.net

    @property
    def scale(self) -> int | None:
        """The position of its Scale, the first of several; None without one."""
        return self.scales[0] if self.scales else None

    @property
    def layer(self) -> pb.LayerParameter:
        """The normalising layer."""
        return self.net.layer[self.index]

    @property
    def last(self) -> pb.LayerParameter:
        """The layer whose top is the result: the Scale, or the normalising layer if it has none."""
        return self.net.layer[self.index if self.scale is None else self.scale]

    @property
    def settings(self) -> Normalization:
        """The settings of the normalising layer, in one form for all types."""
        settings = normalization_of(self.layer)
        assert settings is not None
        return settings

    def by_running(self, phase: int) -> bool:
        """Whether it normalises by running statistics in a net of a phase, in place of which its own `phase` counts."""
        return self.settings.by_running(self.layer.phase if self.layer.HasField("phase") else phase)

    @property
    def affine(self) -> bool:
        """Whether scale and shift are learned, in the layer or in its Scale."""
        return self.scale is not None or self.settings.affine

    def parts(self, arrays: Mapping[str, Arrays]) -> tuple[Arrays, Arrays]:
        """Statistics (mean, variance, and their weight if stored) and affine part (gamma and beta, or nothing), flat.

        Raises WeightsError when the weights and the layers differ in their number of blobs, or blobs in their size.
        """
        own = [a.reshape(-1) for a in arrays.get(self.layer.name, [])]
        layout = self.settings.blobs
        complete = len(own) == layout.count
        statistics, affine = (
            [own[i] for i in indices if i is not None and i < len(own)]
            for indices in ((layout.mean, layout.variance, layout.weight), (layout.gamma, layout.beta))
        )
        if self.scale is not None:
            affine = [a.reshape(-1) for a in arrays.get(self.last.name, [])]
            bias = self.last.scale_param.bias_term
            complete = complete and len(affine) == 1 + bias
            if complete and not bias:
                affine = [affine[0], np.zeros_like(affine[0])]
        if not complete:
            raise WeightsError(self._what_is_wrong(len(own), arrays), layer=LayerName(self.layer.name, self.layer.type))
        sizes = {array.size for array in (*statistics[:2], *affine)}
        if len(sizes) > 1 or any(weight.size != 1 for weight in statistics[2:]):
            found = ", ".join(str(array.size) for array in (*statistics, *affine))
            message = f"the blobs of its weights differ in their number of channels: their sizes are {found}"
            raise WeightsError(message, layer=LayerName(self.layer.name, self.layer.type))
        return statistics, affine

    def _what_is_wrong(self, found: int, arrays: Mapping[str, Arrays]) -> str:
        wanted = self.settings.blobs.count
        text = f"its weights have {how_many(found, 'blob')}, expected {wanted}"
        if self.scale is not None:
            bias = self.last.scale_param.bias_term
            text += f'; those of "{self.last.name}" {len(arrays.get(self.last.name, []))}, expected {1 + bias}'
        hint = ""
        if wanted == _BATCH_NORM and found == _BN:
            hint = "; these are the blobs of a BN: give the prototxt that they were trained with"
        elif wanted == _BN and found == _BATCH_NORM:
            hint = "; these are the blobs of a BatchNorm: give the prototxt that they were trained with"
        return text + hint

    def statistics(self, arrays: Mapping[str, Arrays]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Mean and variance that TEST normalises with, (C,) each, float64."""
        stored, affine = self.parts(arrays)
        if not self.settings.averages:  # of SegNet's layer: they were worked into gamma and beta
            return np.zeros(affine[0].shape), np.ones(affine[0].shape)
        mean, variance, *weight = (a.astype(np.float64) for a in stored)
        return self.settings.averaging.read((mean, variance), weight[0] if weight else None)


class PhaseGraphs:
    """The graph of a definition in each state that its rules tell apart, and questions about all of them together.

    States in which it cannot be wired count only for layers that are in no other. order: positions of the layers that
    count, in the order in which they are to stand.
    """

    def __init__(self, net: pb.NetParameter, order: Sequence[int] | None = None) -> None:
        self.net = net
        self._order = list(range(len(net.layer)) if order is None else order)
        found: dict[tuple[int, ...], None] = {}  # the layers of each state, once: often TRAIN and TEST have the same
        for phase in (pb.TRAIN, pb.TEST):
            for state in states(net, phase):
                found[tuple(self._ordered(present(net, state)))] = None
        layers = [[DefinedLayer(index, net.layer[index]) for index in indices] for indices in found]
        self._wired = [Graph(one) for one in layers if is_wired(layer.definition for layer in one)]
        self.all_wired = len(self._wired) == len(layers)

    def _ordered(self, indices: Iterable[int]) -> list[int]:
        there = set(indices)
        return [index for index in self._order if index in there]

    @cached_property
    def _rest(self) -> list[Graph]:
        layers = [{layer.index: layer for layer in defined_layers(self.net, phase)} for phase in (pb.TRAIN, pb.TEST)]
        return [Graph(one[index] for index in self._ordered(one)) for one in layers]

    def having(self, indices: Iterable[int]) -> list[Graph]:
        """The graphs in which one of these layers is present, at least."""
        indices = set(indices)
        found = [graph for graph in self._wired if any(index in graph for index in indices)]
        return found or [graph for graph in self._rest if any(index in graph for index in indices)]

    def of(self, index: int) -> list[Graph]:
        """The graphs in which a layer is present."""
        return self.having([index])

    def only_reader(self, index: int) -> int | None:
        """The only layer that reads the top of layer `index`; the first of several of one name in other states."""
        return self._common({graph.reader(index) for graph in self.of(index)})

    def maker(self, index: int) -> int | None:
        """The layer that makes the first bottom of layer `index`; the first of several of one name in other states."""
        return self._common({graph.maker(index) for graph in self.of(index)})

    def _common(self, found: set[int | None]) -> int | None:
        """The first of the layers found in the states; None if one state has none, or their names differ."""
        known = sorted(index for index in found if index is not None)
        if len(known) < len(found) or len({self.net.layer[i].name for i in known}) != 1:
            return None
        return known[0]

    def normalisations(self, fixed: bool = False, broken: bool = False) -> list[Normalisation]:
        """Every batch normalisation with running statistics; with `fixed` also SegNet's for INFERENCE, of mean 0.

        Raises PrototxtError for one that has not one bottom and one top; with `broken` it is left out.

        A Scale belongs to a layer without gamma if it alone reads the layer's top, in every state. Layers of one name,
        say one for TRAIN and one for TEST, share their weights, so their Scales must too, or none of them counts.
        """
        found = [
            Normalisation(self, i, self._scales(i, settings))
            for i, layer in enumerate(self.net.layer)
            if (settings := normalization_of(layer)) is not None
            and (settings.averages or (fixed and settings.form is Form.SEGNET and settings.running))
        ]
        if broken:
            found = [norm for norm in found if _has_ends(norm.layer)]
        for norm in found:
            check_ends(norm.layer)
        for norms in by_name(found).values():
            if not self._belong(norms):
                for norm in norms:
                    norm.scales = ()
        return found

    def _scales(self, index: int, settings: Normalization) -> tuple[int, ...]:
        """Positions of the Scales that follow a layer in its states; none unless there is one in each."""
        if settings.affine:
            return ()

        def takes(link: Link, at: int) -> bool:
            layer, p = self.net.layer[at], self.net.layer[at].scale_param
            return link is Link.NORM or (p.axis == p.num_axes == 1 and same_conditions(self.net.layer[index], layer))

        scales = [graph.chain(index, (Link.NORM, Link.SCALE), takes).get(Link.SCALE) for graph in self.of(index)]
        found = tuple(sorted({at for at in scales if at is not None}))
        return () if None in scales else found

    def _belong(self, norms: list[Normalisation]) -> bool:
        """Whether layers of one name all have a Scale, all alike, which reads them alone in each of its states."""
        indices, scales = {norm.index for norm in norms}, {at for norm in norms for at in norm.scales}
        if not all(norm.scales for norm in norms) or len({_without_place(self.net.layer[at]) for at in scales}) != 1:
            return False
        return all(graph.maker(at) in indices for at in scales for graph in self.of(at))


def _without_place(layer: pb.LayerParameter) -> bytes:
    """The settings of a layer, serialised, which two layers of one name must share to be one layer in two phases."""
    copy = pb.LayerParameter()
    copy.CopyFrom(layer)
    for name in ("bottom", "include", "exclude", "phase", "blobs"):
        copy.ClearField(name)
    return copy.SerializeToString(deterministic=True)


def by_name(norms: Iterable[Normalisation]) -> dict[str | int, list[Normalisation]]:
    """Normalisations grouped by name, in order; one without a name is a group of its own, under its position."""
    found: dict[str | int, list[Normalisation]] = {}
    for norm in norms:
        found.setdefault(norm.layer.name or norm.index, []).append(norm)
    return found


def _has_ends(layer: pb.LayerParameter) -> bool:
    """Whether a layer has one bottom and one top, as a normalisation must."""
    return len(layer.bottom) == len(layer.top) == 1


def check_ends(layer: pb.LayerParameter) -> None:
    """Raise PrototxtError for a normalisation that has not one bottom and one top."""
    if not _has_ends(layer):
        found = f"{how_many(len(layer.bottom), 'bottom')} and {how_many(len(layer.top), 'top')}"
        raise PrototxtError(
            f"a normalisation has one bottom and one top, got {found}", layer=LayerName(layer.name, layer.type)
        )


def find_normalisations(net: pb.NetParameter, broken: bool = False) -> list[Normalisation]:
    """Every batch normalisation with running statistics: see `PhaseGraphs.normalisations`."""
    return PhaseGraphs(net).normalisations(broken=broken)
