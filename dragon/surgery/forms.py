"""Normalising layers of any type made for a place in a definition, with a Scale where they have no affine part."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from dragon.bases.batch_statistics import normalization_of
from dragon.bases.registry import class_of, find_class, layer_types
from dragon.errors import UsageError, nearest
from dragon.proto import dragon_pb2 as pb
from dragon.surgery.fields import set_layers_fields
from dragon.surgery.learning import learned_blobs
from dragon.surgery.selection import check_choice, find_type
from dragon.surgery.values import free_name

__all__ = [
    "FORMS",
    "NormalisationType",
    "add_specs",
    "is_normalisation",
    "norm_name",
    "normalisation_type",
    "scale_name",
    "set_shift_filler",
]

FORMS = {"merged": "BN", "split": "BatchNorm"}
_FAMILY = "normalisation"


def is_normalisation(layer: pb.LayerParameter) -> bool:
    """Whether a layer normalises, by statistics of the batch or of the sample."""
    return class_of(layer).family == _FAMILY


@dataclass(frozen=True)
class NormalisationType:
    """A type of normalising layer with its settings: `fields` of its LayerParameter."""

    type: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    def layers(self, name: str, scale_name: str, bottom: str, top: str) -> list[pb.LayerParameter]:
        """The layer, and behind it, in place, a Scale if it learns no scale of its own."""
        layer = pb.LayerParameter(name=name, type=self.type, bottom=[bottom], top=[top])
        set_layers_fields([layer], self.fields, self.type)
        settings = normalization_of(layer)
        if settings is None:
            self._learn_affine(layer)
            return [layer]
        if settings.affine:
            return [layer]
        scale = pb.LayerParameter(name=scale_name, type="Scale", bottom=[top], top=[top])
        scale.scale_param.bias_term = True
        return [layer, scale]

    @property
    def can_be_identity(self) -> bool:
        """Whether the layers can start as the identity in TEST: they keep running statistics of each channel."""
        settings = normalization_of(self.layers("norm", "scale", "x", "x")[0])
        return settings is not None and settings.averages

    @property
    def brings_activation(self) -> bool:
        """Whether the layers are activations as well, so that no other one follows."""
        return class_of(pb.LayerParameter(type=self.type)).is_activation and self.normalises

    @property
    def normalises(self) -> bool:
        """Whether the layers normalise; others, such as noise, may be inserted too."""
        return is_normalisation(pb.LayerParameter(type=self.type))

    @property
    def removes_mean(self) -> bool:
        """Whether the layers subtract the mean of each channel, and a bias before them with it."""
        return class_of(self.layers("norm", "scale", "x", "x")[0]).removes_mean

    def _learn_affine(self, layer: pb.LayerParameter) -> None:
        """Set `scale_bias` where it is false by default and the fields do not give it."""
        param: Any = getattr(layer, class_of(layer).settings[0])
        known = "scale_bias" in param.DESCRIPTOR.fields_by_name
        if known and not param.scale_bias and not param.HasField("scale_bias"):
            param.scale_bias = True


def normalisation_type(kind: str | None, form: str | None, fields: Mapping[str, Any] | None) -> NormalisationType:
    """The type by name, or by form: merged is BN, split is BatchNorm with Scale; merged if neither is given.

    Other layers of one bottom and one top that treat each position alike, such as NoisyBN, can be inserted too. Raises
    UsageError for any other type.
    """
    if kind is not None and form is not None:
        raise UsageError("give a type or a form, not both: merged is BN, split is BatchNorm with Scale")
    if kind is None:
        return NormalisationType(FORMS[check_choice(form or "merged", list(FORMS), "form")], fields or {})
    found = kind if find_class(kind) is not None else find_type(kind)
    cls = find_class(found or "")
    if (
        found is None
        or cls is None
        or not (cls.family == _FAMILY or (cls.pointwise and cls.bottoms == cls.tops == (1, 1)))
    ):
        known = [name for name in layer_types() if getattr(find_class(name), "family", "") == _FAMILY]
        raise UsageError(
            f'"{kind}" is no type that can be inserted{nearest(kind, known)}; there are {", ".join(known)}'
        )
    return NormalisationType(found, fields or {})


def add_specs(layers: list[pb.LayerParameter], gamma: pb.ParamSpec, beta: pb.ParamSpec) -> None:
    """Give the scale and the shift of a normalisation their ParamSpecs."""
    last = layers[-1]
    learned = learned_blobs(last)
    if len(learned) > 1:
        last.param.extend([pb.ParamSpec()] * learned[0])
        last.param.extend([gamma, beta])


def share_statistics(layers: list[pb.LayerParameter], name: str) -> None:
    """Let the running statistics of a normalisation be shared under names that begin with `name`."""
    settings = normalization_of(layers[0])
    if settings is None:
        return
    at, specs = settings.blobs, layers[0].param
    while len(specs) < at.count:
        specs.add()
    for part in ("mean", "variance", "weight", "iterations"):
        index = getattr(at, part)
        if index is not None:
            specs[index].name = f"{name}_{part}"


def set_shift_filler(layers: list[pb.LayerParameter], filler: pb.FillerParameter) -> None:
    """Give the shift of a normalisation its filler."""
    last = layers[-1]
    param = getattr(last, class_of(last).settings[0])
    if "bias_filler" in param.DESCRIPTOR.fields_by_name:
        param.bias_filler.CopyFrom(filler)


def scale_name(name: str, taken: Collection[str]) -> str:
    """A name for a Scale that is not taken: bn1 -> scale1, conv1/bn -> conv1/scale, norm -> norm_scale."""
    changed = re.sub(r"(?i)batch_?norm|bn", "scale", name)
    candidate = changed if changed != name else f"{name}_scale"
    while candidate in taken:
        candidate += "_scale"
    return candidate


def norm_name(kind: NormalisationType, layer: str, taken: Collection[str]) -> str:
    """The name of a new layer: bn_conv1 for batch normalisation, norm_conv1 for others, noisybn_bn1 for NoisyBN."""
    probe = pb.LayerParameter(type=kind.type)
    prefix = "norm" if kind.normalises else kind.type.lower()
    return free_name(f"{'bn' if normalization_of(probe) is not None else prefix}_{layer}", taken)
