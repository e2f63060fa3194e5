"""Reads batches of images that a text file lists, one "path label" in each line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.data.batches import Batch, BatchMaker
from dragon.data.image_file import Color, decode_image, image_content
from dragon.data.lists import read_entries
from dragon.data.resize import resize_bilinear
from dragon.data.transform import Transformer
from dragon.errors import DataError

__all__ = ["ImageReader", "read_image", "read_image_list"]

Order = Callable[[int], Sequence[int] | NDArray[np.intp]]


def read_image_list(path: str, root: str = "") -> list[tuple[str, float]]:
    """(file, label) of each line, see `dragon.data.lists`. root: prefix of the file names. Raises DataError."""
    return [(name, label) for _, name, label in read_entries(path, "image list", root)]


def read_image(path: str, color: Color, content: bytes | None = None) -> NDArray[np.uint8]:
    """Decode an image file to (C, H, W) uint8, blue first. content: its bytes, if read already.

    Raises DataError, which names the file.
    """
    try:
        return decode_image(image_content(path) if content is None else content, color)
    except OSError as error:
        raise DataError(f'image "{path}" cannot be read: {error.strerror or error}') from None
    except DataError as error:
        raise DataError(f'image "{path}": {error}') from None


class ImageReader:
    """Reads, resizes and transforms `batch_size` images at a time; a Producer for the Prefetcher.

    entries: from `read_image_list`. size: (height, width) to resize to, or None. order(epoch): the order in which that
    epoch takes the entries. The position counts images from the start of the first epoch.
    """

    def __init__(
        self,
        entries: list[tuple[str, float]],
        root: str,
        transformer: Transformer,
        batch_size: int,
        color: Color,
        size: tuple[int, int] | None,
        order: Order,
    ) -> None:
        self._entries = entries
        self._root = root
        self._rng = transformer.rng
        self._batch_size = batch_size
        self._color = color
        self._size = size
        self._order = order
        self._position = 0
        self._epoch: tuple[int, Sequence[int] | NDArray[np.intp]] | None = None
        self.maker = BatchMaker(transformer, batch_size, self._image(self._entry(0)[0]), resized=size is not None)
        self.shape = self.maker.shape

    def state(self) -> tuple[int, int]:
        """(position, draws) from which the next batch is read."""
        return self._position, self._rng.draws

    def seek(self, position: int, draws: int) -> None:
        """Continue as after the batch with these two numbers."""
        self._position = position
        self._rng.draws = draws
        self._epoch = None

    def fill(self, batch: Batch | None = None) -> Batch:
        """The next batch, in the arrays of `batch` if one is given. Raises DataError."""
        chosen = [self._entry(self._position + i) for i in range(self._batch_size)]
        self._position += self._batch_size
        images = [self._image(name) for name, _ in chosen]
        data, as_bytes, shape = self.maker.make(images, batch, lambda i: f'image "{self._root}{chosen[i][0]}"')
        return Batch(data, np.array([label for _, label in chosen], np.float32), *self.state(), as_bytes, shape)

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _entry(self, position: int) -> tuple[str, float]:
        epoch, index = divmod(position, len(self._entries))
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = epoch, self._order(epoch)
        return self._entries[self._epoch[1][index]]

    def _image(self, name: str) -> NDArray[Any]:
        image = read_image(self._root + name, self._color)
        return image if self._size is None else resize_bilinear(image, *self._size)
