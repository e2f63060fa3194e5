"""Biases of layers with weights: dropped before a normalisation, which cancels them, and brought back without it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dragon.bases.registry import class_of
from dragon.bases.weighted import Weighted
from dragon.proto import dragon_pb2 as pb
from dragon.surgery.model import Model

__all__ = ["Bias", "add_bias", "drop_bias", "give_zero_bias", "gives_channels", "has_bias", "is_frozen", "is_plain"]


@dataclass
class Bias:
    """The ParamSpec and the filler of a bias; None where the definition does not give them."""

    spec: pb.ParamSpec | None = None
    filler: pb.FillerParameter | None = None


def has_bias(layer: pb.LayerParameter) -> bool:
    """Whether a layer has weights and adds a bias."""
    kind = class_of(layer)
    return issubclass(kind, Weighted) and bool(kind.product_param(layer).bias_term)


def gives_channels(layer: pb.LayerParameter) -> bool:
    """Whether a layer has weights and its outputs are the channels, on axis 1, that normalisations go by."""
    kind = class_of(layer)
    return issubclass(kind, Weighted) and kind.product_param(layer).axis == 1


def is_plain(spec: pb.ParamSpec) -> bool:
    """Whether a ParamSpec says nothing: all its values are the defaults."""
    return not spec.name and spec.lr_mult == 1 and spec.decay_mult == 1


def is_frozen(spec: pb.ParamSpec) -> bool:
    """Whether a blob with this ParamSpec does not learn."""
    return spec.lr_mult == 0


def drop_bias(layer: pb.LayerParameter) -> Bias:
    """Take the bias out of a layer that has one; what the definition said about it."""
    kind = class_of(layer)
    assert issubclass(kind, Weighted)
    p, found = kind.product_param(layer), Bias()
    p.bias_term = False
    if p.HasField("bias_filler"):
        found.filler = pb.FillerParameter()
        found.filler.CopyFrom(p.bias_filler)
        p.ClearField("bias_filler")
    if len(layer.param) > 1:
        found.spec = pb.ParamSpec()
        found.spec.CopyFrom(layer.param[1])
        del layer.param[1:]
    return found


def add_bias(layer: pb.LayerParameter, bias: Bias) -> None:
    """Give a layer with weights a bias."""
    kind = class_of(layer)
    assert issubclass(kind, Weighted)
    p = kind.product_param(layer)
    p.ClearField("bias_term")  # true is the default
    if bias.filler is not None and not p.HasField("bias_filler"):
        p.bias_filler.CopyFrom(bias.filler)
    if bias.spec is not None:
        while len(layer.param) < 1:
            layer.param.add()
        del layer.param[1:]
        layer.param.add().CopyFrom(bias.spec)


def give_zero_bias(model: Model, layer: pb.LayerParameter) -> None:
    """Zeros as the values of a new bias, where the model has weights for the layer."""
    arrays = model.arrays.get(layer.name)
    if arrays and len(arrays) == 1:
        kind = class_of(layer)
        assert issubclass(kind, Weighted)
        arrays.append(np.zeros(kind.product_param(layer).num_output, arrays[0].dtype))
