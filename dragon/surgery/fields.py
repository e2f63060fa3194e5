"""Fields of messages set from mappings, as YAML and JSON give them."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn, cast

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from dragon.bases.registry import unread_by_all
from dragon.errors import UsageError, nearest
from dragon.proto import dragon_pb2 as pb
from dragon.proto.values import INTEGERS

__all__ = ["Fail", "check_read", "find_field", "set_fields", "set_layers_fields", "set_value"]

_WHAT = {FieldDescriptor.CPPTYPE_BOOL: "true or false", FieldDescriptor.CPPTYPE_STRING: "a text"}

Fail = Callable[[str], NoReturn]  # raises UsageError, and adds to the message where the mistake stands


def find_field(message: Message, key: str, fail: Fail) -> FieldDescriptor:
    """The field of a message by its name; `fail` for an unknown one, with the nearest."""
    known = message.DESCRIPTOR.fields_by_name
    if key not in known:
        fail(f'{message.DESCRIPTOR.name} has no field "{key}"{nearest(key, known)}')
    return cast(FieldDescriptor, known[key])  # the stubs name the same class of the C library too


def set_value(message: Message, field: FieldDescriptor, value: Any, fail: Fail) -> None:
    """Set a field; a repeated one is replaced as a whole. `fail` for a value of another type."""
    if value is None:  # an empty value of YAML, which the parser takes for none at all
        fail(f'"{field.name}" has no value')
    if field.is_repeated:
        message.ClearField(field.name)
        value = value if isinstance(value, list) else [value]
        if field.message_type is not None:
            for number, entry in enumerate(value):
                _set_all(getattr(message, field.name).add(), entry, f"{field.name}[{number}]", fail)
            return
    flags = any(isinstance(one, bool) for one in (value if field.is_repeated else [value]))
    try:
        if flags and field.cpp_type != FieldDescriptor.CPPTYPE_BOOL:
            raise json_format.ParseError  # which takes true as 1
        json_format.ParseDict({field.name: value}, message)
    except json_format.ParseError:
        fail(_expected(field, value))


def _expected(field: FieldDescriptor, value: Any) -> str:
    """What a field takes, and what came."""
    got = f"got {reprlib.repr(value)}"
    if field.enum_type is not None:
        names = list(field.enum_type.values_by_name)
        return f'"{field.name}" is one of {", ".join(names)}, {got}{nearest(str(value), names)}'
    if field.message_type is not None:
        what = "a mapping of fields to values"
    elif field.cpp_type in INTEGERS:
        what = "a whole number from {} to {}".format(*INTEGERS[field.cpp_type])
    else:
        what = _WHAT.get(field.cpp_type, "a number")
    return f'"{field.name}" is {what}, {got}'


def set_fields(message: Message, values: Mapping[str, Any], where: str) -> None:
    """Set the fields that a mapping names; a repeated one is replaced as a whole, a message is set field by field.

    where: the name of what is set, for messages. Raises UsageError for an unknown field or a value of another type.
    """
    _set_all(message, values, where, _raise)


def _set_all(message: Message, values: object, where: str, outer: Fail) -> None:
    """As `set_fields`; outer: what fails with the message and where."""

    def fail(text: str) -> NoReturn:
        outer(f"{where}: {text}")

    if not isinstance(values, Mapping):
        fail(f"expected fields with their values, got {reprlib.repr(values)}")
    for key, value in values.items():
        field = find_field(message, str(key), fail)
        if field.message_type is not None and not field.is_repeated:
            inner = getattr(message, field.name)
            inner.SetInParent()
            _set_all(inner, value, f"{where}.{key}", outer)
            continue
        set_value(message, field, value, fail)


def set_layers_fields(layers: Sequence[pb.LayerParameter], values: Mapping[str, Any], where: str) -> None:
    """Set fields of layers, as `set_fields`. Raises UsageError, too, for settings that none of their types reads."""
    for layer in layers:
        set_fields(layer, values, where)
    for name in values:
        check_read(layers, name, partial(_fail, where))


def check_read(layers: Sequence[pb.LayerParameter], name: str, fail: Fail) -> None:
    """`fail` for a field that was set in all of the layers, and that none of their types reads."""
    if why := unread_by_all(layers, name):
        fail(f"{layers[0].type} does not read {name}: {why}")


def _fail(where: str, text: str) -> NoReturn:
    _raise(f"{where}: {text}")


def _raise(text: str) -> NoReturn:
    raise UsageError(text) from None
