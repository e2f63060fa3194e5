"""What can be set in a layer type: the fields of its settings messages, their kinds, defaults and meanings."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor

from dragon.bases.layer import Layer
from dragon.bases.registry import find_class, layer_types
from dragon.errors import UsageError, nearest
from dragon.proto import dragon_pb2 as pb
from dragon.proto.comments import message_comments

__all__ = [
    "Setting",
    "counts",
    "default",
    "documentation",
    "field_kind",
    "layer_class",
    "message_of",
    "parameter_fields",
    "settings",
]

_KINDS = {
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_FLOAT: "float",
    FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
}


class Setting(NamedTuple):
    """A field that a layer type reads. default: as text, "" if there is none. meaning: the comment in the schema."""

    field: Any  # the descriptor
    default: str
    meaning: str


def layer_class(name: str) -> type[Layer]:
    """The class of a layer type. Raises UsageError with the nearest name."""
    cls = find_class(name)
    if cls is None:
        raise UsageError(f'unknown layer type "{name}"{nearest(name, layer_types()) or "; `dragon layers` lists them"}')
    return cls


def parameter_fields(cls: type[Layer]) -> list[str]:
    """The settings messages of a type, without those whose only field is Caffe's choice of an engine."""
    return [name for name in cls.settings if [field.name for field in message_of(name).fields] != ["engine"]]


def message_of(field: str) -> Any:
    """The descriptor of the message that a field of LayerParameter holds."""
    return pb.LayerParameter.DESCRIPTOR.fields_by_name[field].message_type


def settings(name: str, field: str) -> Iterator[Setting]:
    """What a layer type reads of one of its settings messages, in the order of the schema."""
    message = message_of(field)
    comments = message_comments(message.name).fields
    for one in message.fields:
        yield Setting(one, default(name, one), comments.get(one.name, ""))


def documentation(cls: type[Layer]) -> str:
    """The docstring of a layer; an empty string for one that only inherits that of its base."""
    return inspect.cleandoc(cls.__doc__ or "")


def field_kind(field: Any) -> str:
    """What a field holds, as `dragon layers` says it: "repeated uint32", "MAX | AVE", "FillerParameter"."""
    if field.enum_type is not None:
        text = " | ".join(value.name for value in field.enum_type.values)
    elif field.message_type is not None:
        text = field.message_type.name
    else:
        text = _KINDS.get(field.type, "number")
    return f"repeated {text}" if field.is_repeated else text


def counts(span: tuple[int, int | None]) -> str:
    """How many bottoms or tops, in words: "2", "1 to 3", "1 or more"."""
    minimum, maximum = span
    if maximum is None:
        return f"{minimum} or more"
    return str(minimum) if minimum == maximum else f"{minimum} to {maximum}"


def default(layer: str | None, field: Any) -> str:
    """The value that a layer type uses for an unset field; "" if the schema has no default.

    layer: None for the default of the schema alone.
    """
    stated = None if layer is None else layer_class(layer).defaults.get(field.name)
    if stated is not None:
        return stated
    if not field.has_default_value:
        return ""
    value = field.default_value
    if field.enum_type is not None:
        return str(field.enum_type.values_by_number[value].name)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.7g}"
    return f'"{value}"' if isinstance(value, str) else str(value)
