"""The mean image of a training set and its file, `mean.binaryproto` (a BlobProto of shape 1 x C x H x W)."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.data.datum import decode_batch
from dragon.data.progress import Progress, silent
from dragon.data.source import RecordReader
from dragon.errors import DataError, WeightsError
from dragon.files.atomic import write_atomically
from dragon.files.paths import missing_hint
from dragon.proto import dragon_pb2
from dragon.proto.blobs import read_blobproto

__all__ = ["mean_of_images", "mean_of_source", "read_mean", "write_mean"]

_CHUNK = 1000  # images summed at a time


def read_mean(path: str | os.PathLike[str]) -> NDArray[np.float32]:
    """The mean image (C, H, W) of a .binaryproto file. Raises DataError if it is missing or damaged."""
    if not os.path.exists(path):
        raise DataError(f"mean file {path} does not exist{missing_hint(path)}")
    try:
        mean = read_blobproto(path)
    except WeightsError as error:
        raise DataError(f"mean file {error}") from None
    stored = mean.shape
    while mean.ndim > 3 and len(mean) == 1:
        mean = mean[0]
    if mean.ndim == 4 and len(stored) == 5:  # of clips, (C, length, H, W), whose frames are channels one after another
        mean = mean.reshape(-1, *mean.shape[2:])
    if mean.ndim != 3 or not mean.size:
        raise DataError(f"mean file {path}: shape {stored}, expected one image (1, C, H, W)")
    return mean.astype(np.float32)


def write_mean(path: str | os.PathLike[str], mean: NDArray[np.floating[Any]]) -> None:
    """Write a mean image (C, H, W) as Caffe does: num, channels, height, width and float data. Raises OSError."""
    channels, height, width = mean.shape
    blob = dragon_pb2.BlobProto(num=1, channels=channels, height=height, width=width)
    blob.data.extend(mean.astype(np.float32).ravel().tolist())
    write_atomically(path, blob.SerializeToString(deterministic=True))


def mean_of_images(images: NDArray[Any]) -> NDArray[np.float32]:
    """Mean (C, H, W) of (N, C, H, W) images, summed in float64."""
    total = np.zeros(images.shape[1:], np.float64)
    for start in range(0, len(images), _CHUNK):
        total += images[start : start + _CHUNK].sum(0, np.float64)
    return (total / len(images)).astype(np.float32)


def mean_of_source(reader: RecordReader, progress: Progress = silent) -> NDArray[np.float32]:
    """Mean (C, H, W) of all records, summed in float64. Raises DataError if their shapes differ."""
    reader.seek(0)
    total: NDArray[np.float64] | None = None
    for first in range(0, len(reader), _CHUNK):
        records = reader.read(min(_CHUNK, len(reader) - first))
        images, _ = decode_batch(records, name=partial(_record_name, reader.path, first))
        if isinstance(images, list) or (total is not None and images.shape[1:] != total.shape):
            raise DataError(f'"{reader.path}" has images of different shapes, so it has no mean image')
        chunk = images.sum(0, np.float64)
        total = chunk if total is None else total + chunk
        progress("mean image", first + len(records), len(reader))
    if total is None:
        raise DataError(f'"{reader.path}" is empty')
    return (total / len(reader)).astype(np.float32)


def _record_name(path: str, first: int, index: int) -> str:
    return f'"{path}": record {first + index}'
