"""The definition inside a weights file: its NetParameter without the arrays, whichever fork wrote it."""

from __future__ import annotations

import io
import logging
import os

from google.protobuf.message import DecodeError

from dragon.errors import Position, PrototxtError, WeightsError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.binary import net_fields, open_weights
from dragon.proto.dialects import dialect_of, set_profile
from dragon.proto.profiles import NATIVE, PROFILES, Profile, find_profile
from dragon.proto.quantised import QUANTISED_TYPES
from dragon.proto.renumber import profile_of, renumber
from dragon.proto.strings import not_text
from dragon.proto.upgrade import upgrade_net
from dragon.proto.wire import BYTES, VARINT, WireReader

__all__ = ["detect_profile", "read_binary_net"]

_log = logging.getLogger("dragon")
_Path = str | os.PathLike[str]

_LAYER, _LAYERS = 100, 2
_BLOBS = {_LAYER: 7, _LAYERS: 6}
_BATCH_NORM = 139
_LAYER_MESSAGE = pb.DESCRIPTOR.message_types_by_name["LayerParameter"]
_V1_MESSAGE = pb.DESCRIPTOR.message_types_by_name["V1LayerParameter"]
_V1_CONVOLUTION = 10

# (field number, wire type) that BVLC's schema does not have, and the forks that do; of layers, of batch_norm_param.
_LAYER_MARKS = {(n, VARINT): {"nvcaffe"} for n in (145, 146, 147, 148)}
_C3D_MARKS = {(7, VARINT), (9, BYTES), (10, BYTES)}  # of a V1 layer's convolution_param
_BATCH_NORM_MARKS = {
    (4, VARINT): {"intel", "pspnet", "deeplab", "happynear"},
    (5, VARINT): {"intel", "happynear"},
    (6, VARINT): {"intel"},
    (7, BYTES): {"intel", "happynear"},
    (8, BYTES): {"intel", "happynear"},
    (9, VARINT): {"intel"},
    (10, VARINT): {"intel"},
}


def read_binary_net(path: _Path, profile: str | None = None) -> pb.NetParameter:
    """The net in a weights file, in the present form, without blobs. profile: the fork; None: it is detected.

    Raises WeightsError for a damaged file, an unknown profile, or field numbers that fit several forks.
    """
    head, layers, counts = _read_parts(path)
    net = pb.NetParameter()
    warned: set[str] = set()
    try:
        net.ParseFromString(head)
        own = bool(net.profile)  # a file of ours, in which layers of a dialect say so
        set_profile(net, profile)
        dialect_of(net.profile)  # raises the error that names the file
        fork = find_profile(net.profile or profile) if net.profile or profile else _detect(path, layers)
        for number, content in layers:
            if number == _LAYER:
                numbered = profile_of(content, str(path)) if own else fork
                net.layer.add().ParseFromString(renumber(content, _LAYER_MESSAGE, numbered, str(path), warned))
            else:
                if _V1_MESSAGE.name in fork.numbers:  # others number these as BVLC does
                    content = renumber(content, _V1_MESSAGE, fork, str(path), warned)
                net.layers.add().ParseFromString(content)
        if field := not_text(net):
            raise WeightsError(f"{path}: the net inside is damaged: {field} is not UTF-8 text")
        for layer, count in zip(net.layer, counts, strict=False):
            if layer.type == "BatchNorm" and count == 5:  # forks name the field for it differently
                layer.batch_norm_param.scale_bias = True
        return upgrade_net(net)
    except DecodeError:
        raise WeightsError(f"{path}: the net inside is damaged, or of a fork that needs a profile") from None
    except PrototxtError as error:
        raise WeightsError(error.message, layer=error.layer, position=Position(str(path))) from None


def detect_profile(path: _Path) -> Profile:
    """The fork that wrote a file, judged by field numbers. Raises WeightsError when they fit several forks or none."""
    return _detect(path, _read_parts(path)[1])


def _read_parts(path: _Path) -> tuple[bytes, list[tuple[int, bytes]], list[int]]:
    """The net's fields without layers; each layer without blobs; the number of blobs of each."""
    head = bytearray()
    layers: list[tuple[int, bytes]] = []
    counts: list[int] = []
    with open_weights(path) as wire:
        for number, kind in net_fields(wire):
            if number not in _BLOBS:
                head += wire.raw(number, kind, wire.size)
                continue
            wire.context = f"layer {len(layers)}"
            end = wire.length(wire.size) + wire.at
            content, count = _without(wire, end, _BLOBS[number])
            layers.append((number, content))
            counts.append(count)
    return bytes(head), layers, counts


def _without(wire: WireReader, end: int, dropped: int) -> tuple[bytes, int]:
    content = bytearray()
    count = 0
    while wire.at < end:
        number, kind = wire.key(end)
        if number == dropped:
            wire.skip(kind, end)
            count += 1
        else:
            content += wire.raw(number, kind, end)
    return bytes(content), count


def _reader(content: bytes, path: str) -> WireReader:
    return WireReader(io.BytesIO(content), len(content), path)


# -- detection


def _detect(path: _Path, layers: list[tuple[int, bytes]]) -> Profile:
    candidates: set[str] | None = None
    for number, content in layers:
        for forks in _evidence(content, str(path)) if number == _LAYER else _old_evidence(content, str(path)):
            candidates = forks if candidates is None else candidates & forks
    if candidates is None or NATIVE.name in candidates:
        return NATIVE
    candidates = {name for name in candidates if PROFILES[name].took_over not in candidates}
    if len(candidates) == 1:
        found = PROFILES[next(iter(candidates))]
        _log.info("%s: field numbers of %s", path, found.name)
        return found
    if not candidates:
        raise WeightsError(f"{path}: field numbers of no known fork; name a profile: {', '.join(PROFILES)}")
    raise WeightsError(f"{path}: field numbers of a fork; name its profile: {', '.join(sorted(candidates))}")


def _evidence(content: bytes, path: str) -> list[set[str]]:
    """For each telling field of a layer, the names of the profiles that it fits."""
    marks: list[set[str]] = []
    numbers: list[int] = []
    kind_name = ""
    wire = _reader(content, path)
    while wire.at < wire.size:
        number, kind = wire.key(wire.size)
        numbers.append(number)
        if number == 2 and kind == BYTES:
            kind_name = wire.read(wire.length(wire.size), wire.size).decode("utf-8", "replace")
        elif number == _BATCH_NORM and kind == BYTES:
            inner = _reader(wire.read(wire.length(wire.size), wire.size), path)
            while inner.at < inner.size:
                mark = inner.key(inner.size)
                inner.skip(mark[1], inner.size)
                if mark in _BATCH_NORM_MARKS:
                    marks.append(_BATCH_NORM_MARKS[mark])
        else:
            wire.skip(kind, wire.size)
            if (number, kind) in _LAYER_MARKS:
                marks.append(_LAYER_MARKS[number, kind])
    if kind_name in QUANTISED_TYPES:
        marks.append({"ristretto"})
    telling = _telling_settings(kind_name)
    for number in numbers:
        forks = {p.name for p in PROFILES.values() if p.meaning("LayerParameter", number) in telling}
        if forks:
            marks.append(forks)
    return marks


def _old_evidence(content: bytes, path: str) -> list[set[str]]:
    """The same of a V1 layer: C3D's convolution_param has a stride and a filler where BVLC's has the other kind."""
    wire = _reader(content, path)
    while wire.at < wire.size:
        number, kind = wire.key(wire.size)
        if number != _V1_CONVOLUTION or kind != BYTES:
            wire.skip(kind, wire.size)
            continue
        inner = _reader(wire.read(wire.length(wire.size), wire.size), path)
        while inner.at < inner.size:
            mark = inner.key(inner.size)
            inner.skip(mark[1], inner.size)
            if mark in _C3D_MARKS:
                return [{"c3d"}]
    return []


def _telling_settings(kind: str) -> set[str]:
    """The settings of a layer type that some fork gives a number of its own, so that the number identifies the fork."""
    from dragon.bases.registry import find_class  # layers import the schema, so not at the head of the file

    cls = find_class(kind)
    moved = {name for profile in PROFILES.values() for name in profile.numbers.get("LayerParameter", {}).values()}
    return set() if cls is None else {name for name in cls.settings if name in moved}
