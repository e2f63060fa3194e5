"""Fields of layers set from mappings, as YAML and JSON give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from dragon.errors import UsageError, nearest, one_line

__all__ = ["set_fields"]


def set_fields(message: Message, values: Mapping[str, Any], where: str) -> None:
    """Set the fields that a mapping names; a repeated one is replaced as a whole, a message is set field by field.

    where: the name of what is set, for messages. Raises UsageError for an unknown field or a value of another type.
    """
    if not isinstance(values, Mapping):
        raise UsageError(f"{where}: expected fields with their values, got {values!r}")
    known = message.DESCRIPTOR.fields_by_name
    for key, value in values.items():
        if key not in known:
            kind = message.DESCRIPTOR.name
            raise UsageError(f'{where}: {kind} has no field "{key}"{nearest(str(key), known)}')
        field = known[key]
        if field.message_type is not None and not field.is_repeated:
            inner = getattr(message, key)
            inner.SetInParent()
            set_fields(inner, value, f"{where}.{key}")
            continue
        if field.is_repeated:
            message.ClearField(key)
            value = value if isinstance(value, list) else [value]
        try:
            json_format.ParseDict({key: value}, message)
        except json_format.ParseError as error:
            raise UsageError(f"{where}: {one_line(str(error))}") from None
