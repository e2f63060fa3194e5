"""The layer type MemoryData."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from dragon.bases.layer import register
from dragon.bases.source import Source, host_array
from dragon.bases.stored_state import stored
from dragon.counting import how_many
from dragon.data import Transformer
from dragon.errors import DataError
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

__all__ = ["MemoryData"]


@register()
class MemoryData(Source):
    """Batches of arrays that the program sets, over and over again.

    Tops: data (batch_size, channels, height, width) and label (batch_size). Forward raises DataError before arrays are
    set.
    """

    type = "MemoryData"
    settings = ("memory_data_param", "transform_param")
    tops = (2, 2)
    takes_arrays = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.memory_data_param
        self.batch: int = p.batch_size
        self.item = (p.channels, p.height, p.width)
        if min(self.batch, *self.item) < 1:
            self.bad_param("memory_data_param needs batch_size, channels, height and width, each at least 1")
        self.arrays: tuple[Array, Array] | None = None
        self.position = 0
        top[0].reshape(self.batch, *self.item)
        top[1].reshape(self.batch)

    def set_arrays(self, data: ArrayLike, labels: ArrayLike) -> None:
        """Set the arrays to read from: `data` (N, C, H, W) and `labels` (N values), not transformed.

        Raises DataError for other shapes, and unless N is a multiple of batch_size.
        """
        values, numbers = np.asarray(data, self.dtype), np.asarray(labels, self.dtype)
        if values.ndim != 4 or values.shape[1:] != self.item:
            raise DataError(
                f"data of shape {values.shape}, expected (N, {', '.join(map(str, self.item))})",
                layer=self.where,
            )
        if numbers.size != len(values):
            raise DataError(f"{how_many(numbers.size, 'label')} for {how_many(len(values), 'item')}", layer=self.where)
        if not len(values) or len(values) % self.batch:
            raise DataError(
                f"{how_many(len(values), 'item')}, no multiple of batch_size {self.batch}", layer=self.where
            )
        self.arrays = values, numbers.reshape(-1)
        self.position = 0

    def add_images(self, images: Sequence[Array] | Array, labels: ArrayLike) -> None:
        """Set the arrays to read from: `images`, N of (C, H, W), which are transformed, and `labels` (N).

        Raises DataError as `set_arrays`.
        """
        data = np.empty((len(images), *self.item), np.float32)
        with self.naming_errors():
            Transformer(self.transform_param(), self.phase, self.rng).apply(images, data)
        self.set_arrays(data, labels)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if self.arrays is None:
            raise DataError("has no data yet; call net.set_input_arrays(data, labels) first", layer=self.where)
        rows = slice(self.position, self.position + self.batch)
        for blob, values in zip(top, self.arrays, strict=True):
            host_array(blob)[...] = values[rows]
        self.position = rows.stop % len(self.arrays[0])

    def state(self) -> dict[str, int | float | bytes]:
        return {"position": self.position}

    def load_state(self, state: dict[str, int | float | bytes]) -> None:
        position = int(stored(self, state, "position"))
        if position % self.batch:
            raise DataError(
                f"the snapshot is at item {position}, no multiple of batch_size {self.batch}", layer=self.where
            )
        if self.arrays is not None and position >= len(self.arrays[0]):
            raise DataError(f"the snapshot is at item {position}, there are {len(self.arrays[0])}", layer=self.where)
        self.position = position
