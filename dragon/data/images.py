"""Reads batches of images that a text file lists, one "path label" in each line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.data.batches import Batch, BatchMaker
from dragon.data.class_folders import read_class_folders
from dragon.data.image_file import Color, decode_image, image_content
from dragon.data.listed import ListedReader, Order
from dragon.data.lists import read_entries
from dragon.data.resize import resize_bilinear
from dragon.data.transform import Transformer
from dragon.errors import DataError
from dragon.share import ALONE, Share

__all__ = ["ImageReader", "read_image", "read_image_list"]


def read_image_list(path: str, root: str = "") -> list[tuple[str, float]]:
    """(file, label) of each line, see `dragon.data.lists`; of each image where `path` is a folder of class folders.

    root: prefix of the file names. Raises DataError.
    """
    if os.path.isdir(path):
        if root:
            raise DataError(f'source "{path}" is a folder, so root_folder "{root}" has no meaning')
        return [(os.path.join(path, name), label) for name, label in read_class_folders(path)[1]]
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


class ImageReader(ListedReader):
    """Reads, resizes and transforms `batch_size` images at a time; a Producer for the Prefetcher.

    entries: (file, label or labels) of each image. size: (height, width) to resize to, or None. order: see
    `ListedReader`.
    """

    def __init__(
        self,
        entries: Sequence[tuple[str, float | tuple[float, ...]]],
        root: str,
        transformer: Transformer,
        batch_size: int,
        color: Color,
        size: tuple[int, int] | None,
        order: Order,
        share: Share = ALONE,
    ) -> None:
        super().__init__(len(entries), batch_size, transformer.rng, order, share)
        self._entries = entries
        self._root = root
        self._color = color
        self._size = size
        first = self._image(entries[self.index(0)][0])
        self.maker = BatchMaker(transformer, batch_size, first, resized=size is not None)
        self.shape = self.maker.shape

    def fill(self, batch: Batch | None = None) -> Batch:
        """The next batch, in the arrays of `batch` if one is given. Raises DataError."""
        chosen = [self._entries[i] for i in self.take()]
        images = [self._image(name) for name, _ in chosen]
        data, as_bytes, shape = self.maker.make(images, batch, lambda i: f'image "{self._root}{chosen[i][0]}"')
        return Batch(data, np.array([label for _, label in chosen], np.float32), *self.state(), as_bytes, shape)

    def _image(self, name: str) -> NDArray[Any]:
        image = read_image(self._root + name, self._color)
        return image if self._size is None else resize_bilinear(image, *self._size)
