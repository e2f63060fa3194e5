"""Reads, decodes and transforms records to batches for a data layer, with or without a prefetching thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dragon.counting import how_many
from dragon.data.datum import decode_batch
from dragon.data.image_file import Color
from dragon.data.source import RecordReader
from dragon.data.transform import Transformer
from dragon.errors import DataError
from dragon.share import ALONE, Share

__all__ = ["Batch", "BatchMaker", "BatchReader", "Bytes"]


@dataclass
class Bytes:
    """Images before the transform, and the random crops and flips for them."""

    images: NDArray[np.uint8]  # (N, C, H, W)
    places: NDArray[np.int32]  # (N, 3), from Transformer.draw


@dataclass
class Batch:
    """One batch, and the state after it: after a seek to (position, draws) the next batch is read again."""

    data: NDArray[np.float32]  # (N, C, h, w); empty if `bytes` is set
    label: NDArray[np.float32]  # (N,), (N, labels), or maps (N, 1, h, w)
    position: int  # index of the record after this batch
    draws: int  # of the random stream, up to and including this batch
    bytes: Bytes | None = None
    shape: tuple[int, ...] = ()  # (N, C, h, w), even if `bytes` is set
    sizes: NDArray[np.float32] | None = None  # (N, 2): height and width of images with maps


Made: TypeAlias = tuple[NDArray[np.float32], Bytes | None, tuple[int, ...]]


class BatchMaker:
    """Turns decoded images into batches. The first image of each batch decides the batch's height and width.

    first: an image of the source; all images have its number of channels. resized: all images have one size.

    With `as_bytes`, 8-bit images of the size of `first` are returned untransformed, with the same random draws, for an
    engine that transforms them. All others are transformed here, and so are all whose colours or pixels change at
    random.
    """

    def __init__(
        self, transformer: Transformer, batch_size: int, first: NDArray[Any], *, resized: bool = False
    ) -> None:
        self.transformer = transformer
        self.shape = transformer.output_shape(first.shape)
        self.varies = not (resized or transformer.crops)  # whether batches may differ in shape
        self._limited = first.shape if first.dtype == np.uint8 else None
        # of one 8-bit image that an engine may transform; None if there are none
        self.byte_shape = self._limited if transformer.windows_only else None
        self.as_bytes = False
        self._batch_size = batch_size

    def make(
        self, images: NDArray[Any] | Sequence[NDArray[Any]], used: Batch | None, name: Callable[[int], str]
    ) -> Made:
        """Data, bytes and shape of a batch of `images`, (N, C, H, W) or a list of (C, H, W).

        used: a batch whose arrays may be overwritten. Raises DataError, which names image i as `name(i)`.
        """
        shape = (self._batch_size, *self._shape(images, name))
        if self.as_bytes:
            same = images if isinstance(images, np.ndarray) else _stacked(images)
            if same is not None and same.dtype == np.uint8 and same.shape[1:] == self.byte_shape:
                return np.empty(0, np.float32), Bytes(same, self.transformer.draw(images)), shape
        data = used.data if used is not None and used.data.shape == shape else np.empty(shape, np.float32)
        self.transformer.apply(images, data)
        return data, None, shape

    def limits(self) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """`Transformer.limits` of the images; None if they are not of 8 bits."""
        return None if self._limited is None else self.transformer.limits(self._limited)

    def _shape(self, images: NDArray[Any] | Sequence[NDArray[Any]], name: Callable[[int], str]) -> tuple[int, int, int]:
        """The shape of all images after the transform. Raises DataError if they do not have one."""
        shapes = [images.shape[1:]] if isinstance(images, np.ndarray) else [image.shape for image in images]
        made = self._checked_shape(shapes[0], name, 0)
        for i, shape in enumerate(shapes):
            if shape[0] != self.shape[0]:
                raise DataError(
                    f"{name(i)} has {how_many(shape[0], 'channel')}, the first of the source {self.shape[0]}"
                )
            if shape != shapes[0] and self._checked_shape(shape, name, i) != made:
                raise DataError(
                    f"{name(i)} has shape {shape}, the first image of its batch {shapes[0]}; "
                    "images of different sizes need a crop_size, or batch_size 1"
                )
        return made

    def _checked_shape(self, shape: tuple[int, int, int], name: Callable[[int], str], i: int) -> tuple[int, int, int]:
        """The shape of image i after the transform. To find its name may take long: a database is read for its key."""
        try:
            return self.transformer.output_shape(shape)
        except DataError as error:
            raise DataError(f"{name(i)}: {error}") from None


def _stacked(images: Sequence[NDArray[Any]]) -> NDArray[Any] | None:
    """Images of one shape and dtype as one array; None if they differ."""
    return np.stack(images) if len({(image.shape, image.dtype) for image in images}) == 1 else None


class BatchReader:
    """Reads, decodes and transforms `batch_size` records at a time; `shape` is that of one transformed image.

    Nothing else may use the random stream of the transformer. `color` overrides the transformer's channels for encoded
    images (force_encoded_color of data_param). With a share of several ranks, a batch is this rank's rows of the batch
    of all, and the position moves behind that one: it is the same on all ranks. Raises DataError at once if the first
    record does not fit.
    """

    def __init__(
        self,
        source: RecordReader,
        transformer: Transformer,
        batch_size: int,
        color: Color | None = None,
        share: Share = ALONE,
    ) -> None:
        if batch_size < 1:
            raise DataError(f"batch_size must be at least 1, got {batch_size}")
        self._source = source
        self._rng = transformer.rng
        self._batch_size = batch_size
        self._share = share
        self._color = color or transformer.color
        start = source.position
        images, _ = decode_batch(source.read(1), self._color, self._name)
        source.seek(start)
        self.maker = BatchMaker(transformer, batch_size, images[0])
        self.shape = self.maker.shape

    def state(self) -> tuple[int, int]:
        """(position, draws) from which the next batch is read."""
        return self._source.position, self._rng.draws

    def seek(self, position: int, draws: int) -> None:
        """Continue as after the batch with these two numbers."""
        self._source.seek(position)
        self._rng.draws = draws

    def fill(self, batch: Batch | None = None) -> Batch:
        """The next batch, in the arrays of `batch` if one is given. Raises DataError."""
        before, count = self._share.rank * self._batch_size, self._batch_size
        if before:
            self._source.skip(before)
        first = self._source.position
        images, labels = decode_batch(self._source.read(count), self._color, lambda i: self._name(first + i))
        try:
            data, as_bytes, shape = self.maker.make(images, batch, lambda i: self._key(first + i))
        except DataError as error:
            raise DataError(f"{self._name(first)} and following: {error}") from None
        if behind := (self._share.ranks - 1 - self._share.rank) * count:
            self._source.skip(behind)
        return Batch(data, labels, *self.state(), as_bytes, shape)

    def close(self) -> None:
        """Release the source."""
        self._source.close()

    def _name(self, index: int) -> str:
        return f'"{self._source.path}": record {index % len(self._source)}'

    def _key(self, index: int) -> str:
        return f'record {index % len(self._source)} (key "{self._source.key(index).decode(errors="backslashreplace")}")'
