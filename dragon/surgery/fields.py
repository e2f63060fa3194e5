"""Fields of messages set from mappings, as YAML and JSON give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NoReturn, cast

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from dragon.errors import UsageError, nearest, one_line

__all__ = ["Fail", "find_field", "set_fields", "set_value"]

Fail = Callable[[str], NoReturn]  # raises UsageError, and adds to the message where the mistake stands


def find_field(message: Message, key: str, fail: Fail) -> FieldDescriptor:
    """The field of a message by its name; `fail` for an unknown one, with the nearest."""
    known = message.DESCRIPTOR.fields_by_name
    if key not in known:
        fail(f'{message.DESCRIPTOR.name} has no field "{key}"{nearest(key, known)}')
    return cast(FieldDescriptor, known[key])  # the stubs name the same class of the C library too


def set_value(message: Message, field: FieldDescriptor, value: Any, fail: Fail) -> None:
    """Set a field; a repeated one is replaced as a whole. `fail` for a value of another type."""
    if field.is_repeated:
        message.ClearField(field.name)
        value = value if isinstance(value, list) else [value]
    try:
        json_format.ParseDict({field.name: value}, message)
    except json_format.ParseError as error:
        fail(one_line(str(error)))


def set_fields(message: Message, values: Mapping[str, Any], where: str) -> None:
    """Set the fields that a mapping names; a repeated one is replaced as a whole, a message is set field by field.

    where: the name of what is set, for messages. Raises UsageError for an unknown field or a value of another type.
    """
    fail = partial(_fail, where)
    if not isinstance(values, Mapping):
        fail(f"expected fields with their values, got {values!r}")
    for key, value in values.items():
        field = find_field(message, str(key), fail)
        if field.message_type is not None and not field.is_repeated:
            inner = getattr(message, field.name)
            inner.SetInParent()
            set_fields(inner, value, f"{where}.{key}")
            continue
        set_value(message, field, value, fail)


def _fail(where: str, text: str) -> NoReturn:
    raise UsageError(f"{where}: {text}") from None
