"""The blobs in weights files: a BlobProto's values read from the wire, and the pieces of one that is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from dragon.counting import how_many
from dragon.errors import LayerName, WeightsError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.blobs import raw_dtype, shaped
from dragon.proto.wire import BYTES, FIXED32, FIXED64, VARINT, WireReader, encode_key, encode_varint

__all__ = ["LARGE", "BlobArray", "blob_pieces", "opening", "read_blob"]

_Target = Callable[[int], NDArray[Any] | None] | None

_DATA, _DOUBLE_DATA, _DIFF, _DOUBLE_DIFF = 5, 8, 6, 9
_RAW_DATA, _RAW_DIFF = 12, 13
_VALUES = {False: (_DATA, _DOUBLE_DATA, _RAW_DATA), True: (_DIFF, _DOUBLE_DIFF, _RAW_DIFF)}
_SINGLE, _DOUBLE = np.dtype("<f4"), np.dtype("<f8")
LARGE = 1 << 18  # values; blobs that a fork stores in another order are far smaller


@dataclass(frozen=True, eq=False)
class BlobArray:
    """One stored array, float32 or float64. legacy: the file gives its shape as num, channels, height and width."""

    array: NDArray[Any]
    legacy: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents of the axes."""
        return self.array.shape


def read_blob(wire: WireReader, end: int, diffs: bool, target: _Target, skip: bool) -> BlobArray:
    """The blob whose message ends at `end`. diffs, skip: as in `iter_layers`. target: as its `into`, for this blob.

    Raises WeightsError for a damaged one.
    """
    single, double, raw = _VALUES[diffs]
    rest = bytearray()  # everything but the values: shape and types
    parts: list[NDArray[Any]] = []
    raw_at: tuple[int, int] | None = None
    width: int | None = None  # of a blob of C3D, whose fields from 3 on have numbers of their own
    while wire.at < end:
        number, kind = wire.key(end)
        if number == _DATA and kind == VARINT:
            width, single = wire.varint(end), _DIFF + diffs
        elif width is not None and number in (_DIFF, _DIFF + 1) and number != single:
            wire.skip(kind, end)
        elif number in (single, double):
            dtype = _SINGLE if number == single else _DOUBLE
            parts.append(_read_values(wire, number, kind, dtype, end, None if parts else target, skip))
        elif number == raw and kind == BYTES:
            length = wire.length(end)
            raw_at = (wire.at, length)
            wire.seek(wire.at + length)
        elif number in (_DATA, _DOUBLE_DATA, _DIFF, _DOUBLE_DIFF, _RAW_DATA, _RAW_DIFF):
            wire.skip(kind, end)
        else:
            rest += wire.raw(number, kind, end)
    try:
        blob = pb.BlobProto.FromString(bytes(rest))
    except DecodeError:
        wire.fail("the file is damaged: shape cannot be read")
    if raw_at is not None and not parts:
        if not blob.HasField("raw_diff_type" if diffs else "raw_data_type"):
            wire.fail("raw data of an unknown number type")
        parts.append(_read_raw(wire, *raw_at, blob.raw_diff_type if diffs else blob.raw_data_type, skip))
        wire.seek(end)
    if width is not None:
        extents = (blob.num, blob.channels, blob.height, blob.width, width)  # C3D's length stands where height is here
        blob = pb.BlobProto(shape=pb.BlobShape(dim=extents))
        return BlobArray(_shaped(wire, blob, parts).array, legacy=True)
    return _shaped(wire, blob, parts)


def _shaped(wire: WireReader, blob: pb.BlobProto, parts: list[NDArray[Any]]) -> BlobArray:
    values = parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.float32), *parts])
    try:
        array = shaped(blob, values)
    except WeightsError as error:
        wire.fail(str(error))
    return BlobArray(array, legacy=not blob.HasField("shape"))


def _read_values(
    wire: WireReader, number: int, kind: int, dtype: np.dtype[Any], end: int, target: _Target, skip: bool
) -> NDArray[Any]:
    if kind == (FIXED32 if dtype.itemsize == 4 else FIXED64):
        return wire.unpacked_run(number, dtype, end).astype(dtype.newbyteorder("="), copy=False)
    if kind != BYTES:
        wire.fail(f"the file is damaged: values of wire type {kind}")
    return _read_array(wire, wire.length(end), dtype, target, skip)


def _read_raw(wire: WireReader, start: int, length: int, kind: int, skip: bool) -> NDArray[Any]:
    try:
        dtype = raw_dtype(kind)
    except WeightsError as error:
        wire.fail(str(error))
    wire.seek(start)
    values = _read_array(wire, length, dtype, skip=skip)
    return values.astype(np.float32) if dtype.itemsize == 2 and not skip else values


def _read_array(
    wire: WireReader, length: int, dtype: np.dtype[Any], target: _Target = None, skip: bool = False
) -> NDArray[Any]:
    if length % dtype.itemsize:
        wire.fail(f"the file is damaged: {how_many(length, 'byte')}, no whole number of {dtype.name} values")
    count = length // dtype.itemsize
    if skip:
        wire.seek(wire.at + length)
        return np.broadcast_to(np.zeros((), dtype.newbyteorder("=")), count)
    found = target(count) if target is not None and count >= LARGE else None
    values = np.empty(count, dtype) if found is None or found.dtype != dtype else found
    if length:
        wire.read_into(values)
    return values.astype(dtype.newbyteorder("="), copy=False)


def blob_pieces(
    layer: pb.LayerParameter, index: int, array: NDArray[Any], diff: NDArray[Any] | None, half: bool
) -> list[bytes | memoryview]:
    """The content of blob `index` of a layer, with its gradient unless None. See `write_caffemodel` for the types."""
    pieces = _half_pieces(layer, index, array) if half else _value_pieces(array, _DATA, _DOUBLE_DATA)
    if diff is not None:
        pieces += _value_pieces(diff, _DIFF, _DOUBLE_DIFF)
    shape = pb.BlobProto()
    shape.shape.dim.extend(array.shape)
    return [*pieces, shape.SerializeToString()]


def _value_pieces(array: NDArray[Any], single: int, double: int) -> list[bytes | memoryview]:
    number, dtype = (double, _DOUBLE) if array.dtype == np.float64 else (single, _SINGLE)
    flat = np.ascontiguousarray(array, dtype).reshape(-1)
    if not flat.size:
        return []
    content = memoryview(flat.view(np.uint8))  # type: ignore[arg-type]
    return [opening(number, [content]), content]


def _half_pieces(layer: pb.LayerParameter, index: int, array: NDArray[Any]) -> list[bytes | memoryview]:
    """The values in NVCaffe's half precision. Raises WeightsError for one that is finite and becomes infinite."""
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(array, "<f2")
    if (np.isinf(values) & np.isfinite(array)).any():
        most = float(np.abs(array[np.isfinite(array)]).max())
        raise WeightsError(
            f"blob {index} has values up to {most:g}, half precision ends at 65504",
            layer=LayerName(layer.name, layer.type),
        )
    blob = pb.BlobProto(raw_data_type=pb.FLOAT16, raw_data=values.tobytes())
    return [blob.SerializeToString()]


def opening(number: int, pieces: Sequence[bytes | memoryview]) -> bytes:
    """What stands before the pieces of field `number`: its key and their length."""
    return encode_key(number, BYTES) + encode_varint(sum(len(p) for p in pieces))
