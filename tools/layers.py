"""`dragon layers`: lists the layer types and their settings."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import click
from google.protobuf.descriptor import FieldDescriptor

from dragon.bases.layer import Layer, find_class, layer_types
from dragon.errors import UsageError, nearest
from dragon.proto import dragon_pb2 as pb
from dragon.proto.comments import message_comments
from dragon.proto.volumes import FORMER_TYPES
from dragon.tools.common.tables import table

__all__ = ["command", "counts", "default", "documentation", "field_kind", "parameter_fields"]

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


@click.command("layers")
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """List all layer types, or say what can be set in the type NAME.

    \b
    Example: dragon layers BatchNorm
    """
    if name is None:
        rows = [[kind, ", ".join(parameter_fields(_class(kind))), _purpose(_class(kind))] for kind in layer_types()]
        click.echo(table(["type", "parameters", "what it does"], rows, left=(0, 1, 2)))
        return
    if name in FORMER_TYPES:
        click.echo(f"Reading a net makes {FORMER_TYPES[name]} of {name}.\n")
        name = FORMER_TYPES[name]
    cls = find_class(name)
    if cls is None:
        raise UsageError(f'unknown layer type "{name}"{nearest(name, layer_types())}')
    click.echo(f"{name}: {_purpose(cls)}")
    click.echo(f"bottoms: {counts(cls.bottoms)}, tops: {counts(cls.tops)}")
    text = documentation(cls).partition("\n\n")[2]
    if text:
        click.echo(f"\n{text}")
    for field in parameter_fields(cls):
        message = _message(field)
        comments = message_comments(message.name)
        rows = [[f.name, field_kind(f), default(name, f), comments.fields.get(f.name, "")] for f in message.fields]
        click.echo(f"\n{field} ({message.name})" + (f": {comments.text}" if comments.text else ""))
        click.echo(table(["field", "type", "default", "meaning"], rows, left=(0, 1, 2, 3)))


def _class(name: str) -> type[Layer]:
    cls = find_class(name)
    if cls is None:
        raise UsageError(f'unknown layer type "{name}"')
    return cls


def parameter_fields(cls: type[Layer]) -> list[str]:
    """The settings messages of a type, without those whose only field is Caffe's choice of an engine."""
    return [name for name in cls.settings if [field.name for field in _message(name).fields] != ["engine"]]


def _message(field: str) -> Any:
    return pb.LayerParameter.DESCRIPTOR.fields_by_name[field].message_type


def _purpose(cls: type[Layer]) -> str:
    """The first line of a layer's docstring."""
    return documentation(cls).partition("\n")[0]


def documentation(cls: type[Layer]) -> str:
    """The docstring of a layer; an empty string for one that only inherits that of its base."""
    return inspect.cleandoc(cls.__doc__ or "")


def counts(span: tuple[int, int | None]) -> str:
    """How many bottoms or tops, in words: "2", "1 to 3", "1 or more"."""
    minimum, maximum = span
    if maximum is None:
        return f"{minimum} or more"
    return str(minimum) if minimum == maximum else f"{minimum} to {maximum}"


def field_kind(field: Any) -> str:
    """The type of a field in the words of the schema; the choices of an enum."""
    if field.enum_type is not None:
        kind = " | ".join(_names(field))
    elif field.message_type is not None:
        kind = field.message_type.name
    else:
        kind = _KINDS.get(field.type, "number")
    return f"repeated {kind}" if field.is_repeated else kind


def _names(field: Any) -> Iterator[str]:
    for value in field.enum_type.values:
        yield value.name


def default(layer: str | None, field: Any) -> str:
    """The value that a layer type uses for an unset field; "" if the schema has no default.

    layer: None for the default of the schema alone.
    """
    stated = None if layer is None else _class(layer).defaults.get(field.name)
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
