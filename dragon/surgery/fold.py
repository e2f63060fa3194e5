"""Batch normalisation with its running statistics, folded into the layer before it: for deployment.

With s = gamma / sqrt(var + eps), a layer y = W x + b that is normalised becomes W' = s W, b' = s (b - mean) + beta,
s along the outputs.
"""

from __future__ import annotations

import numpy as np

from dragon.bases.registry import class_of
from dragon.bases.weighted import Weighted
from dragon.errors import UsageError
from dragon.proto import dragon_pb2 as pb
from dragon.surgery.model import Model, Normalisation, find_normalisations, maker, only_reader, same_rules

__all__ = ["fold"]


def fold(model: Model) -> tuple[Model, list[tuple[str, str]], list[tuple[str, str]]]:
    """The model without the normalisations that could be folded.

    Also (normalisation, layer it went into) and (normalisation, why it stayed). UsageError for a net without any, or a
    model without weights.
    """
    new = model.copy()
    if not model.arrays:
        raise UsageError("folding needs the weights")
    if not find_normalisations(new.net):
        raise UsageError(f'net "{model.net.name}" has no batch normalisation: nothing to fold')
    done: list[tuple[str, str]] = []
    left: list[tuple[str, str]] = []
    while True:
        names = {name for name, _ in left}
        norm = next((n for n in find_normalisations(new.net) if n.layer.name not in names), None)
        if norm is None:
            return new, done, left
        index = maker(new.net, norm.index)
        why = _obstacle(new, norm, index)
        if why or index is None:
            left.append((norm.layer.name, why))
            continue
        target = new.net.layer[index]
        done.append((norm.layer.name, target.name))
        _fold_into(new, norm, target)


def _obstacle(model: Model, norm: Normalisation, index: int | None) -> str:
    """Why a normalisation cannot be folded, or an empty string."""
    if index is None:
        return "it reads an input of the net"
    layer = model.net.layer[index]
    kind = class_of(layer)
    if not issubclass(kind, Weighted):
        return f'it follows "{layer.name}" ({layer.type}), which has no weights to fold into'
    if only_reader(model.net, index) != norm.index:
        return f'"{layer.name}" is read by other layers as well'
    if len(layer.bottom) != 1 or len(layer.top) != 1 or not same_rules(layer, norm.layer):
        return f'"{layer.name}" has several bottoms or is present in other phases'
    if kind.product_param(layer).axis != 1:
        return f'the outputs of "{layer.name}" are not on axis 1'
    if any(spec.name for spec in layer.param):
        return f'the weights of "{layer.name}" are shared with other layers'
    for name in (layer.name, norm.layer.name):
        if name not in model.arrays:
            return f'there are no weights for "{name}"'
    return ""


def _fold_into(model: Model, norm: Normalisation, layer: pb.LayerParameter) -> None:
    arrays = model.arrays
    mean, variance = norm.statistics(arrays)
    affine = [a.astype(np.float64) for a in norm.parts(arrays)[1]]
    gamma, beta = affine or (np.ones_like(mean), np.zeros_like(mean))
    s = gamma / np.sqrt(variance + norm.settings.eps)
    weight, *bias = arrays[layer.name]
    old = bias[0].astype(np.float64).reshape(-1) if bias else np.zeros_like(mean)
    kind = class_of(layer)
    assert issubclass(kind, Weighted)  # else _obstacle would have said so
    folded = kind.scale_outputs(layer, weight.astype(np.float64), s)
    arrays[layer.name] = [folded.astype(weight.dtype), (s * (old - mean) + beta).astype(weight.dtype)]
    kind.product_param(layer).ClearField("bias_term")  # true is the default
    layer.top[0] = norm.last.top[0]
    for gone in sorted({norm.index, norm.index if norm.scale is None else norm.scale}, reverse=True):
        arrays.pop(model.net.layer[gone].name, None)
        del model.net.layer[gone]
