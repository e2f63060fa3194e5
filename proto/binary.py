"""Weights files (.caffemodel), read and written layer by layer.

A file is a NetParameter, but never one message in memory: only the arrays that the caller keeps take memory, files may
be larger than protobuf's 2 GiB, and values are copied directly between file and array.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
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


@dataclass
class _Scanned:
    """What the fields of a layer's message say: name, type and where its blobs are, as starts and ends."""

    name: str = ""
    type: str = ""
    blobs: list[tuple[int, int]] = field(default_factory=list)


def _scan_layer(wire: WireReader, end: int, form: str) -> _Scanned:
    """Read a layer up to its end, but not its blobs: the name may stand behind them."""
    name_at, type_at, blobs_at = _FIELDS[form]
    found, outer = _Scanned(), wire.context
    while wire.at < end:
        number, kind = wire.key(end)
        if number == blobs_at and kind == BYTES:
            wire.context = _blob_context(outer, len(found.blobs))
            stop = wire.length(end) + wire.at
            found.blobs.append((wire.at, stop))
            wire.seek(stop)
            wire.context = outer
        elif number == name_at and kind == BYTES:
            found.name = _text(wire, end)
            if found.name:
                outer = wire.context = f'layer "{found.name}"'
        elif number == type_at and kind == BYTES:
            found.type = _text(wire, end)
        elif number == type_at and kind == VARINT and form == "layers":
            found.type = V1_TYPES.get(wire.varint(end), "")
        elif number == _V1_NESTED and kind == BYTES and form == "layers":
            inner = _scan_layer(wire, wire.length(end) + wire.at, "v0")
            old = v0_type(inner.type)
            found.name, found.type = inner.name or found.name, "" if old is None else V1_TYPES[old]
            found.blobs += inner.blobs
            outer = wire.context
        else:
            wire.skip(kind, end)
    return found


def _blob_context(layer: str, index: int) -> str:
    return f"{layer} blob {index}"


def _read_layer(
    wire: WireReader, end: int, form: str, diffs: bool, into: Destination | None, skip: Callable[[str], bool] | None
) -> LayerWeights:
    found = _scan_layer(wire, end, form)
    skipped = skip is not None and found.name != "" and skip(found.name)  # an unnamed one gets its name from the caller
    blobs: list[BlobArray] = []
    outer = wire.context
    for i, (start, stop) in enumerate(found.blobs):
        wire.context = _blob_context(outer, i)
        wire.seek(start)
        target = partial(into, found.name, i) if into is not None else None
        blobs.append(read_blob(wire, stop, diffs, target, skipped))
    wire.seek(end)
    wire.context = outer
    return LayerWeights(found.name, found.type, blobs)


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
    for descriptor, value in net.ListFields():
        if descriptor.name == "layer":
            continue
        if descriptor.is_repeated:
            getattr(head, descriptor.name).extend(value)
        elif descriptor.message_type is not None:
            getattr(head, descriptor.name).CopyFrom(value)
        else:
            setattr(head, descriptor.name, value)
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
