"""Caffe's Datum records: encoding from and decoding to arrays.

A Datum holds one (channels, height, width) image as raw bytes, as floats, or as an encoded JPEG/PNG file,
and one integer label. Encoded images are decoded in the channel order of OpenCV, blue first, which Caffe's nets expect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from dragon.counting import how_many
from dragon.data.image_file import Color, decode_image
from dragon.errors import DataError
from dragon.proto import dragon_pb2

__all__ = ["LABELS", "decode_batch", "encode_datum", "image_of"]

LABELS = range(-(2**31), 2**31)  # of an int32
_LONGEST_TAIL = 16  # bytes behind the pixels: a label takes at most 11, `encoded` 2

Image = NDArray[Any]  # (C, H, W), uint8 or float32


def encode_datum(image: Image, label: int) -> bytes:
    """Serialise a (C, H, W) image: uint8 as bytes, float32 and float64 as float_data. Raises DataError."""
    if image.ndim != 3:
        raise DataError(f"a Datum holds an image of shape (C, H, W), got {image.shape}")
    if label not in LABELS:
        raise DataError(f"a Datum's label lies between {LABELS[0]} and {LABELS[-1]}, got {label}")
    channels, height, width = image.shape
    datum = dragon_pb2.Datum(channels=channels, height=height, width=width, label=label)
    if image.dtype == np.uint8:
        datum.data = image.tobytes()
    elif image.dtype.kind == "f":
        datum.float_data.extend(image.astype(np.float32).ravel().tolist())
    else:
        raise DataError(f"a Datum holds uint8 or float values, got {image.dtype}")
    serialised: bytes = datum.SerializeToString(deterministic=True)
    return serialised


def decode_batch(
    records: Sequence[bytes],
    color: Color = Color.AS_STORED,
    name: Callable[[int], str] = "record {}".format,
) -> tuple[Image | list[Image], NDArray[np.float32]]:
    """Decode serialised Datums to images (N, C, H, W) and labels (N,).

    Images of one shape are returned as one array, which may be read-only; images of different shapes as a list of
    (C, H, W) arrays. `name(i)` names record i in messages. Raises DataError for a damaged record.
    """
    alike = _join_alike(records)
    if alike is not None:
        return alike
    datums = [_parse(record, name, i) for i, record in enumerate(records)]
    labels = np.array([datum.label for datum in datums], np.float32)
    raw = _join_raw(datums)
    if raw is not None:
        return raw, labels
    images = [image_of(datum, color, name, i) for i, datum in enumerate(datums)]
    if len({(image.shape, image.dtype) for image in images}) == 1:
        return np.stack(images), labels
    return images, labels


def _parse(record: bytes, name: Callable[[int], str], i: int) -> dragon_pb2.Datum:
    try:
        return dragon_pb2.Datum.FromString(record)
    except DecodeError:
        raise DataError(f"{name(i)} is not a Datum ({how_many(len(record), 'byte')}, which cannot be parsed)") from None


def _join_alike(records: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.float32]] | None:
    """Raw images and labels of records with the same bytes before their pixels, as the usual writers leave them.

    Only the first record is parsed, and what lies behind the pixels of the others. None for other records.
    """
    try:
        first = dragon_pb2.Datum.FromString(records[0])
    except (IndexError, DecodeError):
        return None
    shape = (first.channels, first.height, first.width)
    size = shape[0] * shape[1] * shape[2]
    if min(shape) <= 0 or len(first.data) != size:
        return None
    image = dragon_pb2.Datum(channels=shape[0], height=shape[1], width=shape[2], data=first.data)
    head = image.SerializeToString(deterministic=True)[:-size]
    start, end = len(head), len(head) + size
    if not all(record.startswith(head) for record in records) or min(map(len, records)) < end:
        return None
    labels = [_label_behind(record[end:]) for record in records]
    if None in labels:
        return None
    pixels = b"".join([record[start:end] for record in records])
    return np.frombuffer(pixels, np.uint8).reshape(len(records), *shape), np.array(labels, np.float32)


@lru_cache(maxsize=1 << 14)
def _label_behind(tail: bytes) -> int | None:
    """The label of a Datum that ends with `tail`; None if that may hold more than a label."""
    if len(tail) > _LONGEST_TAIL:
        return None
    try:
        datum = dragon_pb2.Datum.FromString(tail)
    except DecodeError:
        return None
    if datum.encoded or any(datum.HasField(field) for field in ("channels", "height", "width", "data")):
        return None
    return int(datum.label)


def _join_raw(datums: Sequence[dragon_pb2.Datum]) -> NDArray[np.uint8] | None:
    """Images that are all raw bytes of one shape, the usual case, by one copy; None for others."""
    if not datums:
        return None
    shape = (datums[0].channels, datums[0].height, datums[0].width)
    size = shape[0] * shape[1] * shape[2]
    pixels = [datum.data for datum in datums]
    if min(shape) <= 0 or any(len(p) != size for p in pixels):
        return None
    if any(d.encoded or (d.channels, d.height, d.width) != shape for d in datums):
        return None
    return np.frombuffer(b"".join(pixels), np.uint8).reshape(len(datums), *shape)


def image_of(datum: dragon_pb2.Datum, color: Color, name: Callable[[int], str], i: int = 0) -> Image:
    """The image (C, H, W) of a Datum. name(i): the record, for messages. Raises DataError for a damaged one."""
    if datum.encoded:
        try:
            return decode_image(datum.data, color)
        except DataError as error:
            raise DataError(f"{name(i)}: {error}") from None
    shape = (datum.channels, datum.height, datum.width)
    if min(shape) <= 0:
        raise DataError(f"{name(i)} is a damaged Datum: its shape is {shape}")
    size = shape[0] * shape[1] * shape[2]
    if datum.data:
        values: Image = np.frombuffer(datum.data, np.uint8)
    else:
        values = np.fromiter(datum.float_data, np.float32)
    if values.size != size:
        raise DataError(
            f"{name(i)} is a damaged Datum: shape {shape} needs {how_many(size, 'value')}, got {values.size}"
        )
    return values.reshape(shape)
