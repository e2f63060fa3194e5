"""Damage to messages and HDF5 files that stays well-formed: what a checksum or a parser would not notice."""

from __future__ import annotations

import io
import random
from typing import Any

import h5py
import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

__all__ = ["damage_h5", "damage_message", "without_checksum"]

_WHOLE = [
    0,
    1,
    -1,
    2,
    3,
    7,
    12,
    32,
    33,
    127,
    255,
    2**31 - 1,
    -(2**31),
    2**32 - 1,
    2**53,
    2**63 - 1,
    -(2**63),
    2**64 - 1,
]
_REAL = [0.0, -0.0, 1.0, -1.0, 1e38, 1e-45, 1e300, float("inf"), float("-inf"), float("nan"), 0.5]
_TEXT = ["", "a", "/", "..", "x/y", "\0", "é", "a" * 300, "train/data", "(engine)", "-1", "%s"]
_BYTES = [b"", b"\0", b"\xff" * 8, b"\0" * 16, b"1" * 17]


def damage_message(content: bytes, kind: type[Message], chance: random.Random, other: bytes = b"") -> bytes:
    """A serialised message with one to four of its fields changed, exchanged, repeated or taken from another."""
    message, donor = kind(), kind()
    message.ParseFromString(content)
    donor.ParseFromString(other or content)
    for _ in range(chance.choice((1, 1, 2, 4))):
        holder = chance.choice(_holders(message))
        fields = list(holder.DESCRIPTOR.fields)
        set_ones = [field for field, _ in holder.ListFields()]
        field = chance.choice(set_ones if set_ones and chance.random() < 0.7 else fields)
        try:
            _change(holder, field, chance, _holders(donor))
        except (ValueError, TypeError, UnicodeError):
            continue  # the value does not fit the field
    serialised: bytes = message.SerializePartialToString()
    return serialised


def without_checksum(content: bytes, kind: type[Message]) -> bytes:
    """A file that is read unchecked, as those of BVLC Caffe are: else every changed byte is found at once."""
    message = kind()
    message.ParseFromString(content)
    serialised: bytes = message.SerializeToString()
    return serialised


def _holders(message: Message) -> list[Any]:
    """The message and all messages within it."""
    found: list[Any] = [message]
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                found += _holders(inner)
    return found


def _change(holder: Any, field: FieldDescriptor, chance: random.Random, donors: list[Any]) -> None:
    what = chance.randrange(5)
    if what == 0:
        holder.ClearField(field.name)
        return
    same = [donor for donor in donors if donor.DESCRIPTOR is holder.DESCRIPTOR and donor is not holder]
    if what == 1 and same:
        holder.MergeFrom(chance.choice(same))
        return
    if field.message_type is not None:
        values = getattr(holder, field.name)
        like = [donor for donor in donors if donor.DESCRIPTOR is field.message_type]
        target = values.add() if field.is_repeated else values
        if like:
            target.CopyFrom(chance.choice(like))
        return
    value = _value(field, chance)
    if not field.is_repeated:
        setattr(holder, field.name, value)
        return
    values = getattr(holder, field.name)
    if not len(values) or what == 2:
        values.extend([value] * chance.choice((1, 1, 3, 40)))
    elif what == 3:
        del values[chance.randrange(len(values)) :]
    else:
        values[chance.randrange(len(values))] = value


def _value(field: FieldDescriptor, chance: random.Random) -> Any:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return chance.choice(_BYTES if field.type == FieldDescriptor.TYPE_BYTES else _TEXT)
    if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return chance.choice(_REAL)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return chance.random() < 0.5
    if field.enum_type is not None:
        return chance.choice(field.enum_type.values).number
    return chance.choice(_WHOLE)


def damage_h5(content: bytes, chance: random.Random, other: bytes) -> bytes:
    """An HDF5 file with one to three of its objects replaced, of another type or shape, or linked elsewhere."""
    file = io.BytesIO(content)
    with h5py.File(file, "r+") as target, h5py.File(io.BytesIO(other), "r") as donor:
        for _ in range(chance.choice((1, 1, 2, 3))):
            names: list[str] = []
            target.visit(names.append)
            if not names:
                break
            try:
                _replace(target, chance.choice(names), donor, chance)
            except (ValueError, TypeError, OSError, RuntimeError, KeyError, OverflowError):
                continue  # the library refuses to write it
    return file.getvalue()


def _replace(target: Any, name: str, donor: Any, chance: random.Random) -> None:
    item = target[name]
    readable = isinstance(item, h5py.Dataset) and item.shape is not None and item.size < 1 << 20
    values = np.asarray(item[()] if readable else np.arange(3))
    parent, _, last = name.rpartition("/")
    group = target[parent] if parent else target
    what = chance.randrange(8)
    if what != 6:
        del group[last]
    if what == 0:
        group.create_dataset(last, data=_retyped(values, chance))
    elif what == 1:
        shape = chance.choice([(), (0,), (1,) * 32, (3, 0), (1, 1, np.size(values)), (10**9,), (10**6, 10**6)])
        group.create_dataset(
            last, shape, chance.choice(["f4", "f8", "i8"]), chunks=(bool(shape) and all(shape)) or None
        )
    elif what == 2:
        group[last] = chance.choice(
            [h5py.SoftLink("/"), h5py.SoftLink("/nowhere"), h5py.SoftLink(f"/{name}"), h5py.ExternalLink("x.h5", "/")]
        )
    elif what == 3:
        group[last] = chance.choice([target, group, target[chance.choice(list(target))] if len(target) else target])
    elif what == 4:
        group.create_group(last).create_dataset(chance.choice(["0", "00", "1", "x", "-1"]), data=values)
    elif what == 5:
        donor.copy(chance.choice(list(donor)), group, last)
    elif what == 6:
        target[name].attrs[chance.choice(["escaped", "crc", "dragon"])] = chance.choice([0, "x", np.arange(3)])
    elif values.dtype.kind in "fiu":
        group.create_dataset(last, data=np.full(np.shape(values), chance.choice(_REAL)))


def _retyped(values: Any, chance: random.Random) -> Any:
    count = np.size(values)
    return chance.choice(
        [
            np.zeros(count, np.complex64),
            np.full(np.shape(values), b"text"),
            np.zeros(count, [("a", "f4"), ("b", "i4")]),
            np.zeros(np.shape(values), bool),
            np.zeros(np.shape(values), np.int8),
            np.zeros(np.shape(values), np.float16),
            np.zeros(count, ">f8"),
            np.array([b"text"] * count, object),
            h5py.Empty("f4"),
            b"text",
            "text",
        ]
    )
