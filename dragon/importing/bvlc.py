"""What of a layer BVLC Caffe does not read: its type, or single settings."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.message import Message

from dragon.bases.registry import class_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["beyond_bvlc"]

_FIRST_OF_FORKS = {"LayerParameter": 200, "default": 1001}  # numbers of fields from which on they are no longer BVLC's
_LAST_V1 = 39  # the last number that BVLC gave a type in the V1 format
_V1_TYPES = frozenset(
    name.replace("_", "").lower() for name, number in pb.V1LayerParameter.LayerType.items() if number <= _LAST_V1
)


def beyond_bvlc(layer: pb.LayerParameter) -> list[str]:
    """What BVLC Caffe lacks to read a layer that an import writes: `type X`, or names of settings."""
    if not _has_type(layer):
        return [f"type {layer.type}"]
    return list(_settings(layer))


def _has_type(layer: pb.LayerParameter) -> bool:
    """Whether BVLC has the type: it had a number in the V1 format, or has settings of its name in the schema's part."""
    kind = layer.type.lower()
    if kind in _V1_TYPES:
        return True
    cls = class_of(layer)
    own = cls.settings[0] if cls.settings else ""
    number = pb.LayerParameter.DESCRIPTOR.fields_by_name[own].number if own else _FIRST_OF_FORKS["LayerParameter"]
    named_alike = own.removesuffix("_param").replace("_", "") == kind or own == "recurrent_param"
    return number < _FIRST_OF_FORKS["LayerParameter"] and named_alike


def _settings(message: Message) -> Iterator[str]:
    first = _FIRST_OF_FORKS.get(message.DESCRIPTOR.name, _FIRST_OF_FORKS["default"])
    for field, value in message.ListFields():
        if field.number >= first:
            yield field.name
        elif isinstance(value, Message):
            yield from _settings(value)
