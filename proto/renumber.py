"""Messages in a fork's field numbers: read with ours, and those of a dialect written with the fork's."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from dragon.errors import LayerName, WeightsError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.profiles import NATIVE, PROFILES, Profile, find_profile
from dragon.proto.refused import about_field
from dragon.proto.wire import BYTES, VARINT, WireReader, encode_key, encode_varint

__all__ = ["encode_layer", "profile_of", "renumber"]

_log = logging.getLogger("dragon")
_LAYER = pb.DESCRIPTOR.message_types_by_name["LayerParameter"]
_PROFILE = _LAYER.fields_by_name["profile"].number


def renumber(content: bytes, descriptor: Descriptor, fork: Profile, path: str, warned: set[str]) -> bytes:
    """A message of a fork with our field numbers; fields that our schema lacks are left out.

    Warns of those that change what is computed. warned: the fields that have been reported. Raises WeightsError.
    """
    if not fork.numbers:
        return content
    wire = WireReader(io.BytesIO(content), len(content), path)
    out = bytearray()
    while wire.at < wire.size:
        number, kind = wire.key(wire.size)
        ours = fork.meaning(descriptor.name, number)
        if ours is None:
            wire.skip(kind, wire.size)
            lost = fork.lost.get(descriptor.name, {}).get(number)
            if lost is not None and (missing := f'{descriptor.name} has no field "{lost}"') not in warned:
                warned.add(missing)
                _log.warning("%s: %s:%s; skipped", path, missing, about_field(descriptor.name, lost))
            continue
        field = descriptor.fields_by_name[ours]
        if field.enum_type is not None and kind == VARINT:
            theirs = wire.varint(wire.size)
            value = fork.values.get((descriptor.name, field.name), {}).get(theirs, theirs)
            known = theirs not in fork.absent.get((descriptor.name, field.name), ())
            if known and value in field.enum_type.values_by_number:
                out += encode_key(field.number, kind) + encode_varint(value)
            elif field.name != "engine":  # which one computes is no part of the net
                wire.fail(f"{fork.name}'s value {theirs} of {descriptor.name}.{field.name} is not offered")
            continue
        _copy(wire, out, field.number, number, kind, field, lambda inner, of: renumber(inner, of, fork, path, warned))
    return bytes(out)


def _copy(
    wire: WireReader,
    out: bytearray,
    new: int,
    old: int,
    kind: int,
    field: FieldDescriptor | None,
    change: Callable[[bytes, Descriptor], bytes],
) -> None:
    """Append the next value, whose key has been read, under the number `new`. change: what is done to a message."""
    if field is not None and field.message_type is not None and kind == BYTES:
        inner = change(wire.read(wire.length(wire.size), wire.size), field.message_type)
        out += encode_key(new, kind) + encode_varint(len(inner)) + inner
    else:
        out += encode_key(new, kind) + wire.raw(old, kind, wire.size)[len(encode_key(old, kind)) :]


def profile_of(content: bytes, path: str) -> Profile:
    """The profile that a serialised layer of ours says it is written in. Raises WeightsError."""
    wire = WireReader(io.BytesIO(content), len(content), path)
    found = NATIVE
    while wire.at < wire.size:
        number, kind = wire.key(wire.size)
        if number == _PROFILE and kind == BYTES:
            name = wire.read(wire.length(wire.size), wire.size).decode("utf-8", "replace")
            if name not in PROFILES:
                wire.fail(f'the file is damaged: a layer of profile "{name[:20]}"')
            found = PROFILES[name]
        else:
            wire.skip(kind, wire.size)
    return found


def encode_layer(layer: pb.LayerParameter) -> bytes:
    """A layer serialised, with our field numbers or those of its profile. WeightsError for a field that has none."""
    content = layer.SerializeToString(deterministic=True)
    fork = find_profile(layer.profile or None)
    try:
        return _encoded(content, _LAYER, fork) if fork.numbers else content
    except WeightsError as error:
        raise error.at(LayerName(layer.name, layer.type)) from None


def _encoded(content: bytes, descriptor: Descriptor, fork: Profile) -> bytes:
    numbers = fork.numbers.get(descriptor.name, {})
    theirs = {name: number for number, name in numbers.items() if name is not None}
    wire = WireReader(io.BytesIO(content), len(content), fork.name)
    out = bytearray()
    while wire.at < wire.size:
        number, kind = wire.key(wire.size)
        field = descriptor.fields_by_number.get(number)
        name = "" if field is None else field.name
        if name not in theirs and number in numbers:
            raise WeightsError(f'{fork.name} has no field "{name}" of {descriptor.name}')
        _copy(wire, out, theirs.get(name, number), number, kind, field, lambda inner, of: _encoded(inner, of, fork))
    return bytes(out)
