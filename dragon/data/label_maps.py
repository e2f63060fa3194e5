"""Reads batches of images with label maps, which are resized, scaled, padded, cropped and mirrored together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dragon.data.batches import Batch, BatchMaker
from dragon.data.image_file import Color, decode_image, image_content, open_image
from dragon.data.images import read_image
from dragon.data.list_forms import Pair
from dragon.data.listed import ListedReader, Order
from dragon.data.lists import number_in
from dragon.data.resize import resize_bilinear, resize_nearest
from dragon.data.transform import Transformer
from dragon.errors import DataError

__all__ = ["LabelMapReader", "Together", "decode_label_map"]

_WORDS = 4  # per image: factor of the size, mirror, row and column of the crop
Labelled = tuple[NDArray[np.uint8], NDArray[np.uint8]]  # (C, H, W) and (H, W)


@dataclass(frozen=True)
class Together:
    """What is done to an image and its label map alike.

    size: (height, width) to resize to; factors: of the size, one is drawn for each image; crop: (height, width) of the
    window, which is random if `random`, else in the middle; mirror: flip half of them. An image that is smaller than
    the crop is padded below and on the right, with the colour `padding` (one value, or one for each channel) and with
    the label `ignored`. Maps are resized to the nearest label.
    """

    size: tuple[int, int] | None = None
    factors: tuple[float, ...] = ()
    crop: tuple[int, int] | None = None
    random: bool = False
    mirror: bool = False
    padding: tuple[int, ...] = (0,)
    ignored: int = 255

    @property
    def draws(self) -> bool:
        """Whether it depends on random words."""
        return bool(self.factors or self.mirror or (self.crop and self.random))

    def scaled(self, size: Sequence[int], words: Sequence[int]) -> tuple[int, ...]:
        """Height and width after the factor that the words choose, before padding and crop."""
        factor = self.factors[words[0] % len(self.factors)] if self.factors else 1.0
        return tuple(max(1, int(np.rint(n * factor))) for n in size)

    def apply(self, image: NDArray[np.uint8], labels: NDArray[np.uint8], words: Sequence[int]) -> Labelled:
        """Image (C, H, W) and map (H, W) after all this. words: four random words."""
        if self.factors:
            size = self.scaled(labels.shape, words)
            image, labels = resize_bilinear(image, *size), resize_nearest(labels, *size)
        if self.crop:
            image, labels = self._padded(image, labels)
            margins = [n - c for n, c in zip(labels.shape, self.crop, strict=True)]
            at = [w % (m + 1) if self.random else m // 2 for w, m in zip(words[2:4], margins, strict=True)]
            window = tuple(slice(a, a + c) for a, c in zip(at, self.crop, strict=True))
            image, labels = image[(slice(None), *window)], labels[window]
        if self.mirror and words[1] % 2:
            image, labels = image[..., ::-1], labels[:, ::-1]
        return image, labels

    def _padded(self, image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Labelled:
        short = [max(0, c - n) for n, c in zip(labels.shape, self.crop or (0, 0), strict=True)]
        if not any(short):
            return image, labels
        behind = [(0, n) for n in short]
        colours = self.padding * len(image) if len(self.padding) == 1 else self.padding
        planes = [np.pad(plane, behind, constant_values=c) for plane, c in zip(image, colours, strict=True)]
        return np.stack(planes), np.pad(labels, behind, constant_values=self.ignored)


def decode_label_map(content: bytes) -> NDArray[np.uint8]:
    """The labels (H, W) in an image file: palette indices of an image with a palette, else its grey values.

    Raises DataError.
    """
    try:
        with open_image(content) as image:
            if image.mode == "P":
                return np.asarray(image)
    except Exception:  # the decoders raise exceptions of many types; decode_image words them
        pass
    gray: NDArray[np.uint8] = decode_image(content, Color.GRAY)[0]
    return gray


class LabelMapReader(ListedReader):
    """Reads `batch_size` images with label maps at a time; a Producer for the Prefetcher.

    entries: from `read_pairs` of the list `source`; root: prefix of the names. whole: the second word of a line is a
    label for all of the image, or there is none, which stands for `together.ignored`. The transformer, which neither
    crops nor mirrors, gets the images as they come out of `together`.

    `Batch.label` is (N, 1, h, w), `Batch.sizes` (N, 2) the height and width of each image, before padding and
    crop.
    """

    def __init__(
        self,
        source: str,
        entries: Sequence[Pair],
        root: str,
        whole: bool,
        transformer: Transformer,
        batch_size: int,
        color: Color,
        together: Together,
        order: Order,
    ) -> None:
        super().__init__(len(entries), batch_size, transformer.rng, order)
        self._source = source
        self._entries = entries
        self._root = root
        self._whole = whole
        self._color = color
        self._together = together
        image, labels = self._read(entries[self.index(0)])
        image, _ = together.apply(image, labels, (0, 0, 0, 0))
        one_size = together.size is not None and not together.factors
        first = image.astype(np.float32)  # so that no engine is handed bytes, which have no map with them
        self.maker = BatchMaker(transformer, batch_size, first, resized=one_size or together.crop is not None)
        self.shape = self.maker.shape

    def fill(self, batch: Batch | None = None) -> Batch:
        """The next batch, in the arrays of `batch` if one is given. Raises DataError."""
        chosen = [self._entries[i] for i in self.take()]
        drawn = self._together.draws
        words = self._rng.raw(_WORDS * len(chosen)) if drawn else np.zeros(_WORDS * len(chosen), np.uint64)
        rows = words.reshape(-1, _WORDS).tolist()
        read = [self._read(entry) for entry in chosen]
        sizes = [self._together.scaled(labels.shape, row) for (_, labels), row in zip(read, rows, strict=True)]
        made = [self._together.apply(*pair, row) for pair, row in zip(read, rows, strict=True)]
        data, _, shape = self.maker.make([image for image, _ in made], batch, lambda i: self._name(chosen[i]))
        labels = np.stack([labels for _, labels in made])[:, None].astype(np.float32)
        return Batch(data, labels, *self.state(), None, shape, np.array(sizes, np.float32))

    def _name(self, entry: Pair) -> str:
        return f'{self._source}:{entry.line}: image "{self._root}{entry.image}"'

    def _read(self, entry: Pair) -> Labelled:
        """Image and map, resized. Raises DataError with the line of the list."""
        try:
            image = read_image(self._root + entry.image, self._color)
            labels = self._labels(entry, image.shape[1:])
        except DataError as error:
            raise DataError(f"{self._source}:{entry.line}: {error}") from None
        if labels.shape != image.shape[1:]:
            raise DataError(
                f"{self._name(entry)} has {image.shape[1]} x {image.shape[2]} pixels, its label map "
                f'"{self._root}{entry.label}" {labels.shape[0]} x {labels.shape[1]}'
            )
        size = self._together.size
        return (image, labels) if size is None else (resize_bilinear(image, *size), resize_nearest(labels, *size))

    def _labels(self, entry: Pair, size: tuple[int, ...]) -> NDArray[np.uint8]:
        if self._whole or entry.label is None:
            label = self._together.ignored if entry.label is None else number_in(entry.label)
            if not isinstance(label, int) or not 0 <= label <= 255:
                raise DataError(f'the label of an image must be a number from 0 to 255, got "{entry.label}"')
            return np.full(size, label, np.uint8)
        path = self._root + entry.label
        try:
            return decode_label_map(image_content(path))
        except OSError as error:
            raise DataError(f'label map "{path}" cannot be read: {error.strerror or error}') from None
        except DataError as error:
            raise DataError(f'label map "{path}": {error}') from None
