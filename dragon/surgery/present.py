"""Nets in a dialect (dragon.proto.dialects) as nets of today: definition and weights."""

from __future__ import annotations

import numpy as np

from dragon.bases.batch_statistics import normalization_of
from dragon.counting import how_many
from dragon.errors import LayerName, WeightsError
from dragon.layers.batch_norm_2016 import BETA, GAMMA
from dragon.normalization.settings import Form, Normalization
from dragon.proto import dragon_pb2 as pb
from dragon.surgery.model import Arrays, Model

__all__ = ["to_present"]


def to_present(model: Model) -> Model:
    """A model whose layers of a dialect are layers of today with the same outputs; the same one if it has none.

    The running average keeps its rule. Where the dialect averages the standard deviation, training moves the variance
    from then on. Raises WeightsError for weights with another number of blobs.
    """
    if not model.net.profile and not any(layer.profile for layer in model.net.layer):
        return model
    new = model.copy()
    converted: set[str] = set()  # layers of one name, say one for each phase, share their weights
    for layer in new.net.layer:
        settings = normalization_of(layer) if layer.profile else None
        if settings is not None:
            if layer.name in new.arrays and layer.name not in converted:
                converted.add(layer.name)
                new.arrays[layer.name] = _arrays(layer, settings, new.arrays[layer.name])
            _rewrite(layer, settings)
        layer.ClearField("profile")
    new.net.ClearField("profile")
    return new


def _arrays(layer: pb.LayerParameter, settings: Normalization, arrays: Arrays) -> Arrays:
    at = settings.blobs
    if len(arrays) != at.count:
        raise WeightsError(
            f"has {how_many(at.count, 'blob')}, the weights {len(arrays)}", layer=LayerName(layer.name, layer.type)
        )
    if settings.form is Form.SPLIT:
        return arrays
    flat = [array.reshape(-1) for array in arrays]
    gamma, beta, mean, spread = (flat[i] for i in (at.gamma, at.beta, at.mean, at.variance) if i is not None)
    _, variance = settings.averaging.read((mean, spread.astype(np.float64)), None)
    return [gamma, beta, mean, variance.astype(spread.dtype), np.ones(1, spread.dtype)]


def _rewrite(layer: pb.LayerParameter, settings: Normalization) -> None:
    if settings.form is Form.SPLIT:
        layer.batch_norm_param.moving_average_fraction = settings.fraction
        layer.batch_norm_param.eps = settings.eps
        return
    p = layer.batch_norm_param
    p.ClearField("moving_average_fraction")
    p.MergeFrom(pb.BatchNormParameter(average=pb.AverageRule.Name(settings.rule)))
    p.eps, p.decay = settings.eps, settings.fraction
    if settings.running is None:
        p.ClearField("use_global_stats")
    if settings.form is Form.DRAGON_2016:
        p.scale_filler.CopyFrom(pb.FillerParameter(value=GAMMA))
        p.bias_filler.CopyFrom(pb.FillerParameter(value=BETA))
    else:
        for source, target in (("filler", "scale_filler"), ("bias_filler", "bias_filler")):
            if layer.scale_param.HasField(source):
                getattr(p, target).CopyFrom(getattr(layer.scale_param, source))
        layer.ClearField("scale_param")
    _reorder_specs(layer, settings)
    layer.type = "BN"


def _reorder_specs(layer: pb.LayerParameter, settings: Normalization) -> None:
    """Put the ParamSpecs into the order of BN's blobs. Of those of statistics only the names for sharing matter."""
    specs, at = list(layer.param), settings.blobs

    def spec(index: int | None) -> pb.ParamSpec:
        return specs[index] if index is not None and index < len(specs) else pb.ParamSpec()

    names = [spec(index).name for index in (at.mean, at.variance)]
    new = [spec(at.gamma), spec(at.beta), *(pb.ParamSpec(name=name) if name else pb.ParamSpec() for name in names)]
    if new[2].name:
        new.append(pb.ParamSpec(name=f"{new[2].name}_weight"))  # shared with the statistics that it is the weight of
    while new and not new[-1].ListFields():
        new.pop()
    del layer.param[:]
    layer.param.extend(new)
