"""Batch normalisation with its running statistics, folded into the layer before it: for deployment.

With s = gamma / sqrt(var + eps), a layer y = W x + b that is normalised becomes W' = s W, b' = s (b - mean) + beta,
s along the outputs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.bases.registry import class_of
from dragon.bases.weighted import Weighted
from dragon.counting import how_many
from dragon.errors import LayerName, UsageError, WeightsError
from dragon.graph.chains import phases
from dragon.proto import dragon_pb2 as pb
from dragon.surgery.model import Arrays, Model
from dragon.surgery.normalisations import Normalisation, PhaseGraphs, by_name, same_conditions

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
    while True:
        graphs = PhaseGraphs(new.net)
        groups = by_name(graphs.normalisations(fixed=True))
        norms = next((norms for norms in groups.values() if _waits(norms[0].layer.name, refused, chosen)), None)
        if norms is None:
            return new, done, list(refused.items())
        name, makers = norms[0].layer.name, {graph.maker(n.index) for n in norms for graph in graphs.of(n.index)}
        why = _obstacle(new, graphs, norms, makers)
        if why:
            refused[name] = why
            continue
        target = new.net.layer[next(index for index in makers if index is not None)]
        done.append((name, target.name))
        _fold_into(new, norms, target)


def _waits(name: str, refused: Collection[str], chosen: Collection[str] | None) -> bool:
    return name not in refused and (chosen is None or name in chosen)


def _deployed(norms: list[Normalisation]) -> Normalisation:
    """The one of several layers of one name that TEST runs; the first if none does."""
    return next((norm for norm in norms if pb.TEST in phases(norm.layer)), norms[0])


def _obstacle(model: Model, graphs: PhaseGraphs, norms: list[Normalisation], makers: set[int | None]) -> str:
    """Why layers of one name, present in different phases, cannot be folded; an empty string if they can.

    makers: the layers that make their bottoms; None stands for an input of the net.
    """
    norm = _deployed(norms)
    if None in makers:
        return "it reads an input of the net"
    if len(makers) > 1:
        return "it follows different layers in TRAIN and in TEST"
    index = next(index for index in makers if index is not None)
    layer = model.net.layer[index]
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
        return "its tops have different names in TRAIN and in TEST"
    if kind.product_param(layer).axis != 1:
        return f'the outputs of "{layer.name}" are not on axis 1'
    names = {spec.name for spec in layer.param if spec.name}
    if any(spec.name in names for i, other in enumerate(model.net.layer) if i != index for spec in other.param):
        return f'the weights of "{layer.name}" are shared with other layers'
    for name in (layer.name, norm.layer.name):
        if name not in model.arrays:
            return f'there are no weights for "{name}"'
    if not all(np.isfinite(values).all() for values in _as_factors(norm, model.arrays)):
        return "with its statistics, scale and shift its outputs are NaN or infinite"
    return ""


def _as_factors(norm: Normalisation, arrays: Mapping[str, Arrays]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """s, mean and beta, (C,) each, float64: what TEST computes is s (x - mean) + beta."""
    mean, variance = norm.statistics(arrays)
    affine = [a.astype(np.float64) for a in norm.parts(arrays)[1]]
    gamma, beta = affine or (np.ones_like(mean), np.zeros_like(mean))
    with np.errstate(invalid="ignore", divide="ignore"):
        return gamma / np.sqrt(variance + norm.settings.eps), mean, beta


def _fold_into(model: Model, norms: list[Normalisation], layer: pb.LayerParameter) -> None:
    arrays, norm = model.arrays, _deployed(norms)
    s, mean, beta = _as_factors(norm, arrays)
    kind = class_of(layer)
    assert issubclass(kind, Weighted)  # else _obstacle would have said so
    _check_sizes(layer, kind.product_param(layer), arrays[layer.name], len(mean))
    weight, *bias = arrays[layer.name]
    old = bias[0].astype(np.float64).reshape(-1) if bias else np.zeros_like(mean)
    folded = kind.scale_outputs(layer, weight.astype(np.float64), s)
    arrays[layer.name] = [folded.astype(weight.dtype), (s * (old - mean) + beta).astype(weight.dtype)]
    kind.product_param(layer).ClearField("bias_term")  # true is the default
    layer.top[0] = norm.last.top[0]
    layer.loss_weight[:] = norm.last.loss_weight
    for index in sorted({index for n in norms for index in (n.index, *n.scales)}, reverse=True):
        arrays.pop(model.net.layer[index].name, None)
        del model.net.layer[index]


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
