"""Strings of a message that are not text: protobuf reads them from binary files as bytes, unasked."""

from __future__ import annotations

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

__all__ = ["not_text"]


def not_text(message: Message) -> str | None:
    """The path of the first string that is not UTF-8, such as "layer[2].bottom[0]"; None if all are."""
    for field, value in message.ListFields():
        for i, one in enumerate(value if field.is_repeated else (value,)):
            name = f"{field.name}[{i}]" if field.is_repeated else str(field.name)
            if field.type == FieldDescriptor.TYPE_STRING and isinstance(one, bytes):
                return name
            if isinstance(one, Message) and (inner := not_text(one)):
                return f"{name}.{inner}"
    return None
