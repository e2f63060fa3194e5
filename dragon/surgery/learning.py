"""What learns in a net: how many blobs a layer learns, as its definition tells, and layers that stop learning."""

from __future__ import annotations

from itertools import count, islice
from typing import Any

from dragon.bases.batch_statistics import normalization_of
from dragon.bases.recurrent import Recurrent
from dragon.bases.registry import class_of
from dragon.errors import LayerName, UsageError
from dragon.layers.bias import Bias
from dragon.layers.parameter import Parameter
from dragon.layers.scale import Scale
from dragon.proto import dragon_pb2 as pb
from dragon.surgery.model import Model, Note, silent_note
from dragon.surgery.selection import Words, select

__all__ = ["filler_fields", "freeze", "learned_blobs"]


def filler_fields(layer: pb.LayerParameter) -> dict[str, str]:
    """The fields of a layer's settings that are fillers of single blobs, by the name of the blob: weight, bias, scale.

    A filler without a name of its own, as that of Scale, is "weight" here.
    """
    kind = class_of(layer)
    if not kind.settings or kind.is_source:
        return {}
    fields = getattr(layer, kind.settings[0]).DESCRIPTOR.fields
    names = [f.name for f in fields if f.message_type is pb.FillerParameter.DESCRIPTOR and not f.is_repeated]
    return {name.removesuffix("filler").rstrip("_") or "weight": name for name in names}


def learned_blobs(layer: pb.LayerParameter) -> list[int]:
    """The indices of the blobs that a layer learns.

    Raises UsageError for a type whose definition does not tell how many there are.
    """
    kind = class_of(layer)
    settings = normalization_of(layer)
    if settings is not None:
        return [index for index in range(settings.blobs.count) if index not in settings.blobs.buffers]
    if issubclass(kind, Recurrent) or kind.runs_user_code:
        raise UsageError(
            "its definition does not tell how many blobs it learns: set lr_mult in its `param` entries",
            layer=LayerName(layer.name, layer.type),
        )
    if issubclass(kind, Parameter):
        return [0]
    if issubclass(kind, Scale | Bias) and len(layer.bottom) > 1:
        return []  # the second bottom is the factor
    param: Any = getattr(layer, kind.settings[0]) if kind.settings else layer
    known = param.DESCRIPTOR.fields_by_name
    if "scale_bias" in known and not (param.scale_bias or any(map(param.HasField, filler_fields(layer).values()))):
        return []
    parts = filler_fields(layer)
    if "bias_term" in known and not param.bias_term:
        parts.pop("bias", None)
    if "threshold" in known and not param.threshold:
        parts.pop("threshold", None)
    learned = (index for index in count() if index not in kind.buffers)
    return list(islice(learned, len(parts)))


def freeze(model: Model, layers: Words | None = None, all_but: Words | None = None, note: Note = silent_note) -> Model:
    """A model in which the chosen layers do not learn, or all but the chosen ones: lr_mult and decay_mult are 0.

    `all_but: [bn, scale]` trains gamma and beta alone. Raises UsageError unless exactly one of the two is given.
    """
    if (layers is None) == (all_but is None):
        raise UsageError("freeze takes either layers or all_but")
    new = model.copy()
    chosen = set(select(new.net, layers if layers is not None else all_but or ()))
    for index, layer in enumerate(new.net.layer):
        if (index in chosen) != (layers is not None):
            continue
        learned = learned_blobs(layer)
        while learned and len(layer.param) <= learned[-1]:
            layer.param.add()
        for k in learned:
            layer.param[k].lr_mult = 0
            layer.param[k].decay_mult = 0
        if learned:
            note(f"froze {layer.name}")
    return new
