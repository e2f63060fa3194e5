"""BatchNorm + Scale to BN and back, definition and weights; the results stay the same, in training too."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.errors import LayerName, UsageError
from dragon.normalization.settings import Form, Normalization
from dragon.proto import dragon_pb2 as pb
from dragon.surgery.forms import scale_name
from dragon.surgery.model import Model
from dragon.surgery.normalisations import Normalisation, by_name, find_normalisations
from dragon.surgery.rules import copy_rules

__all__ = ["merge", "split"]

_SPLIT = (Form.SPLIT, Form.SPLIT_AFFINE)
_FIELDS = {"momentum": "decay"}
_IN_TRAIN = ("ghost_batch", "gradient_through_statistics")  # how TRAIN normalises, in fields that Caffe does not have


def merge(model: Model) -> tuple[Model, list[str]]:
    """Replace every BatchNorm with a scale by one BN of its name; the new model and the names of the merged layers.

    The running average keeps its rule. Raises UsageError when there is nothing to merge.
    """
    new = model.copy()
    groups = [
        norms
        for norms in by_name(find_normalisations(new.net)).values()
        if all(n.settings.form in _SPLIT and n.affine for n in norms)
    ]
    if not groups:
        raise UsageError(f'net "{model.net.name}" has no BatchNorm that a Scale follows: nothing to merge')
    removed: set[int] = set()
    for norms in groups:  # layers of one name in several phases share their weights
        first = norms[0]
        if {first.layer.name, first.last.name} & set(new.arrays):  # either without the other is an error
            statistics, affine = first.parts(new.arrays)
            if first.scale is not None:
                del new.arrays[first.last.name]
            new.arrays[first.layer.name] = affine + statistics
        for norm in norms:
            _merge_settings(norm)
            removed.update(norm.scales)
    names = [norms[0].layer.name for norms in groups]
    for index in sorted(removed, reverse=True):
        del new.net.layer[index]
    return new, names


def _merge_settings(norm: Normalisation) -> None:
    layer, p = norm.layer, norm.layer.batch_norm_param
    settings = norm.settings
    statistics = list(layer.param)[:3]
    affine = list(layer.param)[3:]
    if norm.scale is not None:
        scale = norm.last.scale_param
        affine = list(norm.last.param)
        if scale.HasField("filler"):
            p.scale_filler.CopyFrom(scale.filler)
        if scale.bias_term and scale.HasField("bias_filler"):
            p.bias_filler.CopyFrom(scale.bias_filler)
        if not scale.bias_term:  # there was no shift to learn
            affine = [*(affine or [pb.ParamSpec()]), pb.ParamSpec(lr_mult=0, decay_mult=0)]
        layer.top[0] = norm.last.top[0]
        layer.loss_weight[:] = norm.last.loss_weight
        if not all(norm.last.propagate_down):
            layer.propagate_down[:] = [False]
    _set_average(p, settings)  # BN would take its own defaults otherwise
    p.ClearField("scale_bias")
    layer.type = "BN"
    _set_specs(layer, affine, 2, statistics)


def _set_average(p: pb.BatchNormParameter, settings: Normalization) -> None:
    """Write the averaging rule and its fraction, in the field that held it (`decay` for the momentum of bn_param)."""
    p.ClearField("moving_average_fraction")
    p.ClearField("decay")
    setattr(p, _FIELDS.get(settings.fraction_field, settings.fraction_field), settings.fraction)
    p.MergeFrom(pb.BatchNormParameter(average=pb.AverageRule.Name(settings.rule)))


def _set_specs(layer: pb.LayerParameter, first: list[Any], count: int, second: list[Any]) -> None:
    """Replace the layer's ParamSpecs: `first` for its first `count` blobs, then `second`.

    The second ones are those of statistics, of which only the names for sharing matter.
    """
    del layer.param[:]
    named = [pb.ParamSpec(name=s.name, share_mode=_share_mode(s)) if s.name else pb.ParamSpec() for s in second]
    rest = named if any(s.name for s in second) else []
    if first or rest:
        padded = (first + [pb.ParamSpec()] * count)[:count] if rest else first
        layer.param.extend(padded + rest)


def _share_mode(spec: Any) -> Any:
    """The share_mode of a ParamSpec; None where it is left at the default."""
    return spec.share_mode if spec.HasField("share_mode") else None


def split(model: Model, caffe: bool = False) -> tuple[Model, list[str]]:
    """Replace every BN, and every BatchNorm with a scale of its own, by BatchNorm and Scale.

    Returns the new model and the names of the split layers. caffe: leave out the rule of the running average, which
    BVLC Caffe does not know, so that it can read the net; if training goes on there, the average moves by Caffe's rule.
    Raises UsageError when there is nothing to split.
    """
    new = model.copy()
    found = {n.index: n for n in find_normalisations(new.net) if n.settings.affine}
    if not found:
        raise UsageError(f'net "{model.net.name}" has no BN with running statistics: nothing to split')
    names = list(dict.fromkeys(n.layer.name for n in found.values()))
    layers: list[pb.LayerParameter] = []
    scales: dict[str | int, str] = {}  # names of the Scales: one for all layers of one name, whose weights are shared
    taken = {layer.name for layer in new.net.layer}
    for i, layer in enumerate(list(new.net.layer)):
        layers.append(layer)
        norm = found.get(i)
        if norm is None:
            continue
        key = layer.name or i
        if key not in scales:
            name = scales[key] = scale_name(layer.name, taken)
            taken.add(name)
            if layer.name in new.arrays:
                statistics, affine = norm.parts(new.arrays)
                new.arrays[layer.name] = _with_weight(norm, statistics)
                new.arrays[name] = affine
        layers.append(_split_settings(norm, scales[key], caffe))
    copies = [_copy(layer) for layer in layers]
    del new.net.layer[:]
    new.net.layer.extend(copies)
    return new, names


def _copy(layer: pb.LayerParameter) -> pb.LayerParameter:
    copy = pb.LayerParameter()
    copy.CopyFrom(layer)
    return copy


def _with_weight(norm: Normalisation, statistics: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """Mean, variance and weight, such that a BatchNorm with the same rule, or with CAFFE, reads the same statistics."""
    mean, variance, *weight = statistics
    averaging = norm.settings.averaging
    if averaging.divided and weight:
        return [mean, variance, weight[0]]
    factor = weight[0] if weight else np.zeros(1, mean.dtype)
    if not factor.any() and averaging.full and (mean.any() or variance.any()):
        factor = np.ones(1, mean.dtype)
    return [mean, variance, factor]


def _split_settings(norm: Normalisation, name: str, caffe: bool) -> pb.LayerParameter:
    """Make the layer a BatchNorm and return the Scale that has to follow it."""
    layer = norm.layer
    settings, specs = norm.settings, list(layer.param)
    bn_param, affine_first = settings.form is Form.BN_PARAM, settings.blobs.gamma == 0
    affine = specs[:2] if affine_first else specs[3:]
    statistics = specs[2:] if affine_first else specs[:3]
    if bn_param and layer.bn_param.frozen:
        affine = [pb.ParamSpec(lr_mult=0, decay_mult=0) for _ in range(2)]
    old = pb.BatchNormParameter()
    old.CopyFrom(layer.batch_norm_param)
    p = pb.BatchNormParameter(eps=settings.eps)
    if settings.running is not None:
        p.use_global_stats = settings.running
    for field in _IN_TRAIN:
        if caffe and getattr(settings, field) != getattr(p, field):
            raise UsageError(f"Caffe does not know {field}; split without --caffe", layer=LayerName(layer.name))
        if old.HasField(field):
            setattr(p, field, getattr(old, field))
    scale = pb.LayerParameter(name=name, type="Scale", bottom=[layer.top[0]], top=[layer.top[0]])
    scale.loss_weight.extend(layer.loss_weight)
    layer.ClearField("loss_weight")  # what the last layer makes is what counts
    scale.scale_param.bias_term = True
    fillers = (layer.bn_param, "slope_filler", "bias_filler") if bn_param else (old, "scale_filler", "bias_filler")
    for source_name, target in zip(fillers[1:], ("filler", "bias_filler"), strict=True):
        if fillers[0].HasField(source_name):
            getattr(scale.scale_param, target).CopyFrom(getattr(fillers[0], source_name))
    _set_average(p, settings)
    if settings.rule == pb.CAFFE and not p.HasField("decay"):  # decay alone may be of another dialect
        p.ClearField("average")  # BatchNorm's own
    if caffe:
        if settings.averaging.divided:
            raise UsageError(
                "Caffe cannot read a cumulative average; split without --caffe", layer=LayerName(layer.name)
            )
        p.moving_average_fraction = settings.averaging.momentum  # the weight of the history; LATEST gives the other
        p.ClearField("decay")
        p.ClearField("average")
    layer.type = "BatchNorm"
    layer.ClearField("bn_param")
    layer.batch_norm_param.CopyFrom(p)
    _set_specs(layer, [], 0, statistics)
    scale.param.extend(affine)
    copy_rules(layer, scale)
    return scale
