"""Weights files (.caffemodel), read and written layer by layer.

A file is a NetParameter, but never one message in memory: only the arrays that the caller keeps take memory, files may
be larger than protobuf's 2 GiB, and values are copied directly between file and array.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.errors import WeightsError
from dragon.files.atomic import atomic_write
from dragon.files.reading import open_regular
from dragon.proto import dragon_pb2 as pb
from dragon.proto.binary_blobs import BlobArray, blob_pieces, opening, read_blob
from dragon.proto.checksum import SummedFile, check
from dragon.proto.layer_names import Unnamed
from dragon.proto.profiles import ONE, find_profile
from dragon.proto.renumber import encode_layer
from dragon.proto.upgrade import V1_TYPES
from dragon.proto.upgrade_v0 import v0_type
from dragon.proto.wire import BYTES, VARINT, WireReader

__all__ = ["Destination", "LayerWeights", "iter_layers", "net_fields", "open_weights", "write_caffemodel"]

_Path = str | os.PathLike[str]
_Arrays = Sequence[NDArray[Any]]
Destination = Callable[[str, int, int], NDArray[Any] | None]

# Field numbers of name, type and blobs in the three generations of layers; V0 is nested in field 1 of V1.
_NET_LAYER, _NET_LAYERS = 100, 2
_V1_NESTED = 1
_FIELDS = {"layer": (1, 2, 7), "layers": (4, 5, 6), "v0": (1, 2, 50)}


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """The blobs of one layer in a weights file. type: the present name, "" if the file does not contain it."""

    name: str
    type: str
    blobs: list[BlobArray]


# -- reading


@contextmanager
def open_weights(path: _Path, verify: bool = True) -> Iterator[WireReader]:
    """A reader at the start of a weights file; a context manager.

    verify: whether to compare the file with its checksum, if it has one: all of it is read for that. Raises
    WeightsError when the file is missing, of another kind, or differs from its checksum.
    """
    if "\0" in os.fspath(path):
        raise WeightsError(f"{path!r}: not a file name")
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(8)
            file.seek(0)
            if not head:
                raise WeightsError(f"{path}: the file is empty")
            if head == b"\x89HDF\r\n\x1a\n":
                raise WeightsError(f"{path}: this is an HDF5 file, not a .caffemodel")
            if verify:
                check(file, size, str(path))
            yield WireReader(file, size, str(path))
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from None


def net_fields(wire: WireReader) -> Iterator[tuple[int, int]]:
    """Number and wire type of each field of the net; the caller reads or skips the value.

    Raises WeightsError when the file is not a NetParameter.
    """
    kinds = {f.number: _wire_type(f.cpp_type) for f in pb.NetParameter.DESCRIPTOR.fields}
    layers = 0
    while wire.at < wire.size:
        wire.context = ""
        number, kind = wire.key(wire.size)
        if kind not in (kinds.get(number, kind), BYTES):
            wire.fail(f"no .caffemodel: field {number} of a net is not of wire type {kind}")
        layers += number in (_NET_LAYER, _NET_LAYERS)
        yield number, kind
    if not layers:
        wire.fail("no layers in this file; it is no .caffemodel")


def _wire_type(cpp_type: int) -> int:
    return BYTES if cpp_type in (9, 10) else VARINT  # a NetParameter holds strings, messages and whole numbers


def iter_layers(
    path: _Path,
    profile: str | None = None,
    diffs: bool = False,
    into: Destination | None = None,
    skip: Callable[[str], bool] | None = None,
    verify: bool = True,
) -> Iterator[LayerWeights]:
    """The layers of a weights file in order, whether in the present, V1 or V0 form.

    Single and half precision become float32, double precision float64. profile: the fork that wrote the file, if it
    stores blobs in another order (see dragon.proto.profiles). diffs: read the gradients, not the data.
    into(layer, blob, count): may return a flat array of `count` values to read a large blob (`binary_blobs.LARGE`
    values or more) into, so that it is never in memory twice. skip(name): true for layers whose values are not wanted;
    their arrays have the right shapes, hold zeros and take no memory. verify: as of `open_weights`. Raises WeightsError
    for a truncated, damaged or foreign file, and for an unknown profile.
    """
    fork = find_profile(profile)
    with open_weights(path, verify) as wire:
        index, unnamed = -1, Unnamed()
        for number, kind in net_fields(wire):
            if number not in (_NET_LAYER, _NET_LAYERS):
                wire.skip(kind, wire.size)
                continue
            index += 1
            wire.context = f"layer {index}"
            end = wire.varint(wire.size) + wire.at  # may be beyond the file's end, which _read_layer reports
            layer = _read_layer(wire, end, "layer" if number == _NET_LAYER else "layers", diffs, into, skip)
            if not layer.name:
                layer = replace(layer, name=unnamed.name(layer.type))
            order = fork.blob_order(layer.type, [blob.array.size for blob in layer.blobs])
            if order is not None:
                layer.blobs[:] = [_moved(layer.blobs, i) for i in order]
            yield layer
            del layer  # so that its arrays can be freed while the next one is read


def _moved(blobs: Sequence[BlobArray], index: int) -> BlobArray:
    """Blob `index` of a fork's batch normalisation as a vector; a single 1 for ONE, a blob that the fork lacks."""
    return BlobArray(np.ones(1, np.float32) if index == ONE else blobs[index].array.reshape(-1))


def _read_name(wire: WireReader, end: int, form: str) -> str:
    """The layer's name, which may be anywhere before `end`; the reader's position does not change."""
    start, name = wire.at, ""
    try:
        while wire.at < end:
            number, kind = wire.key(end)
            if number == _FIELDS[form][0] and kind == BYTES:
                name = _text(wire, end)
            elif number == _V1_NESTED and kind == BYTES and form == "layers":
                stop = wire.length(end) + wire.at
                name = _read_name(wire, stop, "v0")
                wire.seek(stop)
            else:
                wire.skip(kind, end)
    except WeightsError:
        pass  # raised again by _read_layer, which knows the blob
    wire.seek(start)
    return name


def _read_layer(
    wire: WireReader, end: int, form: str, diffs: bool, into: Destination | None, skip: Callable[[str], bool] | None
) -> LayerWeights:
    name_at, type_at, blobs_at = _FIELDS[form]
    name, kind_name = _read_name(wire, end, form), ""  # the name may come after the blobs
    if name:
        wire.context = f'layer "{name}"'
    skipped = skip is not None and name != "" and skip(name)  # an unnamed one gets its name from the caller
    blobs: list[BlobArray] = []
    while wire.at < end:
        number, kind = wire.key(end)
        if number == name_at and kind == BYTES:
            _text(wire, end)
        elif number == type_at and kind == BYTES:
            kind_name = _text(wire, end)
        elif number == type_at and kind == VARINT and form == "layers":
            kind_name = V1_TYPES.get(wire.varint(end), "")
        elif number == blobs_at and kind == BYTES:
            outer = wire.context
            wire.context = f"{outer} blob {len(blobs)}"
            stop = wire.length(end) + wire.at
            target = partial(into, name, len(blobs)) if into is not None else None
            blobs.append(read_blob(wire, stop, diffs, target, skipped))
            wire.context = outer
        elif number == _V1_NESTED and kind == BYTES and form == "layers":
            stop = wire.length(end) + wire.at
            inner = _read_layer(wire, stop, "v0", diffs, into, skip)
            blobs = blobs + inner.blobs
            old = v0_type(inner.type)
            kind_name = V1_TYPES[old] if old is not None else ""
        else:
            wire.skip(kind, end)
    return LayerWeights(name, kind_name, blobs)


def _text(wire: WireReader, end: int) -> str:
    content = wire.read(wire.length(end), end)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        wire.fail(f"the file is damaged: a name is {content[:20]!r}")


# -- writing


def write_caffemodel(
    path: _Path,
    net: pb.NetParameter,
    weights: Mapping[str, _Arrays],
    diffs: Mapping[str, _Arrays] | None = None,
    half: bool = False,
) -> None:
    """Write a net and its arrays, layer by layer, as a file that BVLC Caffe reads; replaces an old file at the end.

    net: in the present form; layers of a dialect are written with its field numbers. Its own blobs are not written.
    weights, diffs: arrays by layer name. float64 arrays are stored as double_data, all others as float32; with half,
    all `weights` in NVCaffe's half precision, which BVLC Caffe does not read. Raises WeightsError when the file cannot
    be written, and for weights that belong to no layer.
    """
    unknown = set(weights) - {layer.name for layer in net.layer}
    if unknown:
        raise WeightsError(f'{path}: weights for "{min(unknown)}", but the net has no such layer')
    head = pb.NetParameter()
    for field, value in net.ListFields():
        if field.name == "layer":
            continue
        if field.is_repeated:
            getattr(head, field.name).extend(value)
        elif field.message_type is not None:
            getattr(head, field.name).CopyFrom(value)
        else:
            setattr(head, field.name, value)
    try:
        with atomic_write(path) as file:
            summed = SummedFile(file)
            summed.write(head.SerializeToString(deterministic=True))
            for layer in net.layer:
                stored = weights.get(layer.name, ())
                for piece in _layer_pieces(layer, stored, (diffs or {}).get(layer.name), half):
                    summed.write(piece)
            summed.finish(pb.NetParameter.NAME_FIELD_NUMBER, net.name)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written: {error.strerror}") from None


def _layer_pieces(
    layer: pb.LayerParameter, arrays: _Arrays, diffs: _Arrays | None, half: bool
) -> Iterator[bytes | memoryview]:
    plain = layer
    if layer.blobs:
        plain = pb.LayerParameter()
        plain.CopyFrom(layer)
        plain.ClearField("blobs")
    pieces: list[bytes | memoryview] = [encode_layer(plain)]
    for i, array in enumerate(arrays):
        values = blob_pieces(layer, i, array, None if diffs is None else diffs[i], half)
        pieces += [opening(_FIELDS["layer"][2], values), *values]
    yield opening(_NET_LAYER, pieces)
    yield from pieces
