"""Conversion between BlobProto and NumPy arrays."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from dragon.counting import how_many
from dragon.errors import BlobCountError, WeightsError
from dragon.files.kinds import BLOB, instead
from dragon.files.reading import read_bytes
from dragon.proto import dragon_pb2 as pb
from dragon.proto.wire import BYTES, VARINT, WireReader

__all__ = ["array_to_blobproto", "blobproto_to_array", "raw_dtype", "read_blobproto", "same_but_ones", "shaped"]

_MAX_AXES = 32  # as in BVLC Caffe
_RAW: dict[int, np.dtype[Any]] = {
    pb.DOUBLE: np.dtype("<f8"),
    pb.FLOAT: np.dtype("<f4"),
    pb.FLOAT16: np.dtype("<f2"),
}


def raw_dtype(kind: int) -> np.dtype[Any]:
    """The element type of raw_data. Raises WeightsError for types that weights cannot have."""
    if kind not in _RAW:
        raise WeightsError(f"raw data of type {pb.Type.Name(kind)} cannot be weights")
    return _RAW[kind]


def same_but_ones(mine: Sequence[int], theirs: Sequence[int]) -> bool:
    """Whether two shapes are the same up to axes of 1, such as those of the old form with its four numbers."""
    if tuple(mine) == tuple(theirs):
        return True
    return int(np.prod(mine)) == int(np.prod(theirs)) and [d for d in mine if d != 1] == [d for d in theirs if d != 1]


def shaped(blob: pb.BlobProto, values: NDArray[Any]) -> NDArray[Any]:
    """The values in the shape of the blob, in its present or its four-number form. WeightsError if they do not fit."""
    if blob.HasField("num") or blob.HasField("channels") or blob.HasField("height") or blob.HasField("width"):
        shape: tuple[int, ...] = (blob.num, blob.channels, blob.height, blob.width)
    else:
        shape = tuple(blob.shape.dim)
    if len(shape) > _MAX_AXES:
        raise WeightsError(f"a shape of {how_many(len(shape), 'axis')}, at most {_MAX_AXES} are known")
    try:
        if min(shape, default=0) >= 0:  # reshape would infer the extent of an axis of -1
            return values.reshape(shape)
    except (ValueError, OverflowError):
        pass
    raise BlobCountError(f"shape {shape} does not fit {how_many(values.size, 'value')}")


def blobproto_to_array(blob: pb.BlobProto, diff: bool = False) -> NDArray[Any]:
    """Data (or diff) of the blob: float64 if stored as such, else float32, also for half precision.

    Raises WeightsError when values and shape do not fit.
    """
    single = blob.diff if diff else blob.data
    double = blob.double_diff if diff else blob.double_data
    raw = blob.raw_diff if diff else blob.raw_data
    values: NDArray[Any]
    if double:
        values = np.array(double, np.float64)
    elif raw:
        dtype = raw_dtype(blob.raw_diff_type if diff else blob.raw_data_type)
        if len(raw) % dtype.itemsize:
            raise WeightsError(f"{how_many(len(raw), 'byte')} of raw data, no whole number of {dtype.name} values")
        values = np.frombuffer(raw, dtype)
        values = values.astype(np.float64 if dtype.itemsize == 8 else np.float32)
    else:
        values = np.array(single, np.float32)
    return shaped(blob, values)


def array_to_blobproto(array: NDArray[Any], diff: NDArray[Any] | None = None) -> pb.BlobProto:
    """A BlobProto of the array's shape: float64 goes to double_data, everything else to data as float32."""
    blob = pb.BlobProto()
    blob.shape.dim.extend(array.shape)
    for values, single, double in (
        (array, blob.data, blob.double_data),
        (diff, blob.diff, blob.double_diff),
    ):
        if values is None:
            continue
        if values.shape != array.shape:
            raise WeightsError(f"data has shape {array.shape}, diff {values.shape}")
        if values.dtype.kind == "f" and values.dtype.itemsize == 8:  # in either byte order
            double.extend(values.ravel())
        else:
            single.extend(values.astype(np.float32).ravel())
    return blob


def _of_c3d(content: bytes, path: str | os.PathLike[str]) -> NDArray[Any]:
    """The array of a blob of C3D: num, channels, length, height, width are its fields 1 to 5, data is 6."""
    extents = dict.fromkeys(range(1, 6), 0)
    values: list[NDArray[Any]] = [np.empty(0, np.float32)]
    wire = WireReader(io.BytesIO(content), len(content), str(path))
    while wire.at < wire.size:
        number, kind = wire.key(wire.size)
        if kind == VARINT and number in extents:
            extents[number] = wire.varint(wire.size)
        elif number == 6 and kind == BYTES:
            packed = wire.read(wire.length(wire.size), wire.size)
            values.append(np.frombuffer(packed[: len(packed) // 4 * 4], "<f4").astype(np.float32))
        else:
            wire.skip(kind, wire.size)
    if wrong := [extent for extent in extents.values() if extent >= 1 << 63]:  # negative in the file
        raise WeightsError(f"an extent of C3D's blob is {wrong[0] - (1 << 64):,}")
    blob = pb.BlobProto(shape=pb.BlobShape(dim=extents.values()))
    return shaped(blob, np.concatenate(values))


def read_blobproto(path: str | os.PathLike[str]) -> NDArray[Any]:
    """The array in a .binaryproto file, such as a mean image. Raises WeightsError."""
    try:
        content = read_bytes(path)
        blob = pb.BlobProto.FromString(content)
        if blob.diff and not blob.data and not blob.HasField("shape"):
            return _of_c3d(content, path)
        return blobproto_to_array(blob)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from None
    except DecodeError:
        raise WeightsError(f"{path}: not a .binaryproto file, or damaged{instead(path, BLOB)}") from None
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
