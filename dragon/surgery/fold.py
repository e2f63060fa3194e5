"""Batch normalisation with its running statistics, folded into the layer before it: for deployment.

With s = gamma / sqrt(var + eps), a layer y = W x + b that is normalised becomes W' = s W, b' = s (b - mean) + beta,
s along the outputs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.bases.registry import class_of
from dragon.bases.weighted import Weighted
from dragon.counting import how_many
from dragon.errors import LayerName, UsageError, WeightsError
from dragon.graph.chains import phases
from dragon.proto import dragon_pb2 as pb
from dragon.surgery.biases import gives_channels
from dragon.surgery.model import Arrays, Model
from dragon.surgery.normalisations import Normalisation, PhaseGraphs, by_name
from dragon.surgery.rules import same_conditions
from dragon.surgery.sharing import param_name

__all__ = ["fold"]


def fold(
    model: Model, chosen: Collection[str] | None = None
) -> tuple[Model, list[tuple[str, str]], list[tuple[str, str]]]:
    """Fold every normalisation that can be folded into the layer before it; only those of `chosen` names if given.

    Returns the new model, the pairs (normalisation, layer it was folded into) and the pairs (normalisation, why it
    cannot be folded). Raises UsageError for a net without normalisations or a model without weights, WeightsError for
    weights that do not fit.
    """
    new = model.copy()
    if not model.arrays:
        raise UsageError("folding needs the weights")
    if not PhaseGraphs(new.net).normalisations(fixed=True):
        raise UsageError(f'net "{model.net.name}" has no batch normalisation with running statistics: nothing to fold')
    done: list[tuple[str, str]] = []
    refused: dict[str, str] = {}
    folding = _Folding(new, refused, chosen)
    while True:
        norms = next((norms for norms in folding.groups if folding.waits(norms)), None)
        if folding.gone and (norms is None or folding.is_changed(norms)):
            folding.finish()
            folding = _Folding(new, refused, chosen)
            continue
        if norms is None:
            return new, done, list(refused.items())
        try:
            pairs = folding.pairs(norms)
        except _Stays as why:
            refused[norms[0].layer.name] = str(why)
            continue
        done += [(pair.norms[0].layer.name, pair.layer.name) for pair in pairs]
        folding.fold(pairs)


class _Stays(Exception):
    """Why a normalisation cannot be folded."""


@dataclass
class _Pair:
    """Normalisations of one name, present in different phases, and the layer that they are folded into."""

    norms: list[Normalisation]
    index: int
    factors: Sequence[NDArray[Any]] = ()  # see _as_factors; read when the pair is found to be one
    values: Arrays = field(default_factory=list)  # the folded weights, once computed

    @property
    def norm(self) -> Normalisation:
        """The one that TEST runs; the first if none does."""
        return next((norm for norm in self.norms if pb.TEST in phases(norm.layer)), self.norms[0])

    @property
    def layer(self) -> pb.LayerParameter:
        """The layer with weights."""
        return self.norm.net.layer[self.index]


class _Folding:
    """What can be folded in a model, whose layers keep their positions until `finish`."""

    def __init__(self, model: Model, refused: Collection[str], chosen: Collection[str] | None) -> None:
        self.model = model
        self.net = model.net
        self.refused = refused
        self.chosen = chosen
        self.graphs = PhaseGraphs(model.net)
        self.groups = list(by_name(self.graphs.normalisations(fixed=True)).values())
        self.gone: set[int] = set()  # normalisations that are folded
        self._changed: set[int] = set()  # layers whose values or readers are others than the graphs say

    def waits(self, norms: list[Normalisation]) -> bool:
        """Whether normalisations of one name are to be folded and were not refused."""
        name = norms[0].layer.name
        done = norms[0].index in self.gone
        return not done and name not in self.refused and (self.chosen is None or name in self.chosen)

    def is_changed(self, norms: list[Normalisation]) -> bool:
        """Whether the graphs no longer hold for normalisations, or for layers that share weights with theirs."""
        if not self.graphs.all_wired:
            return True
        makers = {index for index in self._makers(norms) if index is not None}
        around = makers.union(*(_sharers(self.net, index) for index in makers))
        return not self._changed.isdisjoint(around)

    def fold(self, pairs: list[_Pair]) -> None:
        """Give layers the folded weights; the normalisations have no meaning from now on."""
        self.model.arrays.update({pair.layer.name: _folded(self.model, pair) for pair in pairs})
        for pair in pairs:
            layer, last, kind = pair.layer, pair.norm.last, class_of(pair.layer)
            assert issubclass(kind, Weighted)
            kind.product_param(layer).ClearField("bias_term")  # true is the default
            layer.top[0] = last.top[0]
            layer.loss_weight[:] = last.loss_weight
            self._changed.add(pair.index)
        gone = {i for pair in pairs for n in pair.norms for i in (n.index, *n.scales)}
        self.gone |= gone
        self._changed |= gone

    def finish(self) -> None:
        """Take out the normalisations that are folded, and their weights."""
        for index in sorted(self.gone, reverse=True):
            self.model.arrays.pop(self.net.layer[index].name, None)
            del self.net.layer[index]

    def pairs(self, norms: list[Normalisation]) -> list[_Pair]:
        """The pair of these normalisations, and those of all layers that share its weights, which fold alike.

        Raises _Stays.
        """
        first = self._pair(norms)
        pairs = [first]
        for index in _sharers(self.net, first.index):
            other = self._quoted(first, index)
            group = next((g for g in self.groups if self._makers(g) == {index}), None)
            why = ""
            if group is None:
                why = "which no batch normalisation follows alone"
            elif not self.waits(group):
                why = f'whose normalisation "{group[0].layer.name}" stays'
            else:
                try:
                    pairs.append(self._pair(group))
                except _Stays as error:
                    why = f'whose normalisation "{group[0].layer.name}" stays: {error}'
            if why:
                raise _Stays(f'the weights of "{first.layer.name}" are shared with {other}, {why}')
        self._check_alike(pairs)
        return pairs

    def _quoted(self, first: _Pair, index: int) -> str:
        """The layer `index`, beside the one of the first pair, as it stands in a message."""
        name = self.net.layer[index].name
        return "another layer of this name" if name == first.layer.name else f'"{name}"'

    def _makers(self, norms: list[Normalisation]) -> set[int | None]:
        """The layers that make their bottoms; None stands for an input of the net."""
        return {graph.maker(n.index) for n in norms for graph in self.graphs.of(n.index)}

    def _pair(self, norms: list[Normalisation]) -> _Pair:
        """Normalisations with the layer that they can be folded into, as far as no other layer shares its weights."""
        makers = self._makers(norms)
        if None in makers:
            raise _Stays("it reads an input of the net")
        if len(makers) > 1:
            raise _Stays("it follows different layers in other phases or stages")
        pair = _Pair(norms, next(index for index in makers if index is not None))
        why = _obstacle(self.model, self.graphs, pair)
        if why:
            raise _Stays(why)
        return pair

    def _check_alike(self, pairs: list[_Pair]) -> None:
        """Raise _Stays if a blob that layers share would get different values."""
        values: dict[str | tuple[str, int], NDArray[Any]] = {}
        for pair in pairs if len(pairs) > 1 else ():
            layer = pair.layer
            for k, value in enumerate(_folded(self.model, pair)):
                name = param_name(layer, k)
                for key in ((layer.name, k), name or (layer.name, k)):
                    if not np.array_equal(values.setdefault(key, value.ravel()), value.ravel()):
                        other = f'{self._quoted(pairs[0], pair.index)}, whose normalisation "{pair.norm.layer.name}"'
                        raise _Stays(f'the weights of "{pairs[0].layer.name}" are shared with {other} differs')


def _sharers(net: pb.NetParameter, index: int) -> list[int]:
    """Positions of the other layers that share a blob with a layer, or with one that shares one with it.

    Layers share blobs by the names of these, and all of them by one name of theirs, as one for TRAIN and one for TEST.
    """
    found = {index}
    while True:
        layers = {net.layer[i].name for i in found}
        names = {spec.name for i in found for spec in net.layer[i].param if spec.name}
        more = {
            i
            for i, layer in enumerate(net.layer)
            if layer.name in layers or any(spec.name in names for spec in layer.param)
        } - found
        if not more:
            return sorted(found - {index})
        found |= more


def _obstacle(model: Model, graphs: PhaseGraphs, pair: _Pair) -> str:
    """Why normalisations cannot be folded into the layer before them; an empty string if they can."""
    norms, norm, layer, index = pair.norms, pair.norm, pair.layer, pair.index
    kind = class_of(layer)
    if not issubclass(kind, Weighted):
        return f'it follows "{layer.name}" ({layer.type}), which has no weights to fold into'
    present = frozenset[int]().union(*(phases(n.layer) for n in norms))
    alike = present == phases(layer) and all(same_conditions(n.layer, layer) for n in norms)
    if len(layer.bottom) != 1 or len(layer.top) != 1:
        return f'"{layer.name}" has {how_many(len(layer.bottom), "bottom")} and {how_many(len(layer.top), "top")}'
    if not alike:
        return f'it and "{layer.name}" are not present in the same phases and stages'
    if not norm.by_running(pb.TEST):
        return "it normalises by the batch in TEST too"
    if not {graph.reader(index) for graph in graphs.of(index)} <= {n.index for n in norms}:
        return f'"{layer.name}" is read by other layers as well'
    if len({n.last.top[0] for n in norms}) > 1:
        return "its tops have different names in other phases or stages"
    if not gives_channels(layer):
        return f'the outputs of "{layer.name}" are not on axis 1'
    for name in (layer.name, norm.layer.name):
        if name not in model.arrays:
            return f'there are no weights for "{name}"'
    pair.factors = _as_factors(norm, model.arrays)
    if not all(np.isfinite(values).all() for values in pair.factors):
        return "with its statistics, scale and shift its outputs are NaN or infinite"
    return ""


def _as_factors(norm: Normalisation, arrays: Mapping[str, Arrays]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """s, mean and beta, (C,) each, float64: what TEST computes is s (x - mean) + beta."""
    mean, variance = norm.statistics(arrays)
    affine = [a.astype(np.float64) for a in norm.parts(arrays)[1]]
    gamma, beta = affine or (np.ones_like(mean), np.zeros_like(mean))
    with np.errstate(invalid="ignore", divide="ignore"):
        return gamma / np.sqrt(variance + norm.settings.eps), mean, beta


def _folded(model: Model, pair: _Pair) -> Arrays:
    """Weight and bias of the layer with its normalisation in them. Raises WeightsError for weights that do not fit."""
    if pair.values:
        return pair.values
    layer, kind = pair.layer, class_of(pair.layer)
    assert issubclass(kind, Weighted)  # else _obstacle would have said so
    s, mean, beta = pair.factors
    _check_sizes(layer, kind.product_param(layer), model.arrays[layer.name], len(mean))
    weight, *bias = model.arrays[layer.name]
    old = bias[0].astype(np.float64).reshape(-1) if bias else np.zeros_like(mean)
    folded = kind.scale_outputs(layer, weight.astype(np.float64), s)
    pair.values = [folded.astype(weight.dtype), (s * (old - mean) + beta).astype(weight.dtype)]
    return pair.values


def _check_sizes(layer: pb.LayerParameter, product: Any, arrays: Arrays, channels: int) -> None:
    """Raise WeightsError for weights that are not those of the layer, or a normalisation of other channels."""
    where, outputs = LayerName(layer.name, layer.type), int(product.num_output)
    if channels != outputs:
        raise WeightsError(
            f"has {how_many(outputs, 'output')}, its normalisation {how_many(channels, 'channel')}", layer=where
        )
    if len(arrays) != 1 + product.bias_term:
        raise WeightsError(
            f"its weights have {how_many(len(arrays), 'blob')}, expected {1 + product.bias_term}", layer=where
        )
    weight, *bias = arrays
    if weight.size % outputs or any(one.size != outputs for one in bias):
        shapes = ", ".join(str(one.shape) for one in arrays)
        raise WeightsError(f"has {how_many(outputs, 'output')}, its weights are of other sizes: {shapes}", layer=where)
