"""From records to transformed batches: what a data layer reads, with or without a prefetching thread."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dragon.data.datum import Color, decode_batch
from dragon.data.source import RecordReader
from dragon.data.transform import Transformer
from dragon.errors import DataError

__all__ = ["Batch", "BatchReader"]


@dataclass
class Batch:
    """One batch, and the state right after it: seek to (position, draws) to get the next one again."""

    data: NDArray[np.float32]  # (N, C, h, w)
    label: NDArray[np.float32]  # (N,)
    position: int  # index of the record after this batch
    draws: int  # draws taken from the random stream up to and including this batch


class BatchReader:
    """Reads, decodes and transforms `batch_size` records at a time; `shape` is that of one transformed image.

    The transformer's random stream belongs to this reader alone. `color` overrides the transformer's wish for
    encoded images (data_param's force_encoded_color). Raises DataError as soon as the first record does not
    fit.
    """

    def __init__(
        self, source: RecordReader, transformer: Transformer, batch_size: int, color: Color | None = None
    ) -> None:
        if batch_size < 1:
            raise DataError(f"batch_size must be at least 1, got {batch_size}")
        self._source = source
        self._transformer = transformer
        self._batch_size = batch_size
        self._color = color or transformer.color
        start = source.position
        images, _ = decode_batch(source.read(1), self._color, self._name)
        source.seek(start)
        self.shape = transformer.output_shape(images[0].shape)

    def state(self) -> tuple[int, int]:
        """(position, draws) from which the next batch is read."""
        return self._source.position, self._transformer.rng.draws

    def seek(self, position: int, draws: int) -> None:
        """Go on exactly as after the batch that carried these two numbers."""
        self._source.seek(position)
        self._transformer.rng.draws = draws

    def fill(self, batch: Batch | None = None) -> Batch:
        """The next batch, into the arrays of `batch` where one is given. Raises DataError."""
        first = self._source.position
        images, labels = decode_batch(self._source.read(self._batch_size), self._color, lambda i: self._name(first + i))
        data = np.empty((self._batch_size, *self.shape), np.float32) if batch is None else batch.data
        try:
            self._transformer.apply(images, data)
        except DataError as error:
            raise DataError(f"{self._name(first)} and following: {error}") from None
        return Batch(data, labels, *self.state())

    def close(self) -> None:
        """Release the source."""
        self._source.close()

    def _name(self, index: int) -> str:
        return f'"{self._source.path}": record {index % len(self._source)}'
