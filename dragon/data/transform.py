"""The transform_param of data layers, for whole batches: mean, scale, pad, crop, mirror, and random changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dragon.data.augment import Augmentation
from dragon.data.image_file import Color
from dragon.data.mean import read_mean
from dragon.errors import DataError
from dragon.proto import dragon_pb2

__all__ = ["RandomWords", "Transformer"]

_WORDS = 3  # per image: mirror, row and column of the crop
Shape = tuple[int, int, int]


class RandomWords(Protocol):
    """A counter-based random stream (dragon.rng.Stream): `draws` counts the calls of `raw` and is its state."""

    draws: int

    def raw(self, n: int) -> NDArray[np.uint64]:
        """`n` random words; counts as one draw."""
        ...

    def rows(self, n: int, *widths: int) -> list[NDArray[np.uint64]]:
        """Tables of `n` rows of random words, of these widths; counts as one draw."""
        ...


class Transformer:
    """top = (bottom - mean) * scale, from a window of `crop_size`, mirrored or not.

    The window is random in TRAIN and central in TEST; `mirror` flips half of the images in both phases, as in Caffe.
    The mean image is cropped like the image, before mirroring. `zero_pad` puts zeros around what is cropped. In TRAIN,
    colours of the image are changed before all this, and a square is cut out after it (`Augmentation`).

    Each batch takes one draw from `rng`, or none if nothing is random: three words per image, then those of the
    augmentation. Raises DataError for contradictory settings, a mean file that cannot be read, and images that do not
    fit.
    """

    def __init__(self, param: dragon_pb2.TransformationParameter, phase: int, rng: RandomWords) -> None:
        if param.mean_file and param.mean_value:
            raise DataError("transform_param has both mean_file and mean_value: leave one out")
        if param.force_color and param.force_gray:
            raise DataError("transform_param has both force_color and force_gray: leave one out")
        self.rng = rng
        self._crop = int(param.crop_size)
        self._pad = int(param.zero_pad)
        self._mirror = bool(param.mirror)
        self._scale = float(param.scale)
        self._random_crop = self._crop > 0 and phase == dragon_pb2.TRAIN
        augmentation = Augmentation(param.cutout, param.brightness, param.contrast, param.saturation)
        self._augmentation = augmentation if augmentation.words and phase == dragon_pb2.TRAIN else None
        self._mean: NDArray[np.float32] | None = None
        self._mean_file = param.mean_file
        if param.mean_file:
            self._mean = read_mean(param.mean_file)
        elif param.mean_value:
            self._mean = np.array(param.mean_value, np.float32).reshape(-1, 1, 1)
        forced = Color.COLOR if param.force_color else Color.GRAY
        self.color = forced if param.force_color or param.force_gray else Color.AS_STORED

    @property
    def crops(self) -> bool:
        """Whether all images are cropped to one size."""
        return self._crop > 0

    @property
    def random(self) -> bool:
        """Whether batches draw from the stream."""
        return self._mirror or self._random_crop or self._augmentation is not None

    @property
    def windows_only(self) -> bool:
        """Whether all that is done is a window, mirror, mean and scale, which an engine can do itself."""
        return self._augmentation is None

    @property
    def scale(self) -> float:
        """The factor after the mean has been subtracted."""
        return self._scale

    @property
    def mean(self) -> NDArray[np.float32] | None:
        """The mean, (1 or C, 1, 1), or (C, H, W) from a file; None without one."""
        return self._mean

    def output_shape(self, shape: Shape) -> Shape:
        """Shape (C, h, w) of an image of `shape` (C, H, W) after the transform. Raises DataError if it does not fit."""
        channels, height, width = shape
        if self._pad > min(height, width):
            raise DataError(f"zero_pad {self._pad} is larger than the image: it has shape {shape}")
        height, width = height + 2 * self._pad, width + 2 * self._pad
        if self._crop > min(height, width):
            padded = f" with zero_pad {self._pad}" if self._pad else ""
            raise DataError(f"crop_size {self._crop} is larger than the image{padded}: it has shape {shape}")
        if self._mean is not None:
            self._check_mean(self._mean, shape)
        if self._augmentation is not None:
            self._augmentation.check(channels)
        return (channels, self._crop, self._crop) if self._crop else (channels, height, width)

    def apply(self, images: NDArray[Any] | Sequence[NDArray[Any]], out: NDArray[Any]) -> NDArray[Any]:
        """Transform images (N, C, H, W), or N of different sizes (C, H, W), to `out` (N, C, h, w), which is returned.

        Raises DataError for images that do not fit.
        """
        places, words = self._draw(images)
        augmentation = self._augmentation
        if augmentation is not None and augmentation.recolours:
            images = [augmentation.recolour(image, own, out.dtype) for image, own in zip(images, words, strict=True)]
        self.apply_at(images, places, out)
        if augmentation is not None and augmentation.cuts:
            for image, own in zip(out, words, strict=True):
                augmentation.cut(image, own)
        return out

    def apply_at(
        self, images: NDArray[Any] | Sequence[NDArray[Any]], places: NDArray[np.int32], out: NDArray[Any]
    ) -> NDArray[Any]:
        """As `apply`, with the result of `draw` for these images; for transforms that are `windows_only`."""
        flips, rows, columns = places[:, 0] == 1, places[:, 1], places[:, 2]
        if isinstance(images, np.ndarray) and len(images) and not self._random_crop:
            self._window(images, rows[0], columns[0], out)
        else:
            for i, image in enumerate(images):
                try:
                    self._window(image[np.newaxis], rows[i], columns[i], out[i : i + 1])
                except DataError as error:
                    raise DataError(f"image {i}: {error}") from None
        if flips.any():
            out[flips] = out[flips][..., ::-1]
        return out

    def limits(self, shape: Shape) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """The smallest and the largest value of each pixel that 8-bit images of `shape` (C, H, W) become.

        Two arrays that broadcast to an image after the transform. None where they depend on the random draws, since a
        mean image is cropped and mirrored with the image. Raises DataError for a shape that does not fit.
        """
        channels, height, width = self.output_shape(shape)
        if self._pad and not self.random:
            ends = np.empty((2, channels, height, width), np.float32)
            self.apply(np.broadcast_to(np.array([0, 255], np.uint8).reshape(2, 1, 1, 1), (2, *shape)), ends)
            return ends.min(0), ends.max(0)
        if self._mean is not None and self._mean.shape[1:] != (1, 1):
            if self.random:
                return None
            row, column = (shape[1] - height) // 2, (shape[2] - width) // 2
            mean = self._mean[:, row : row + height, column : column + width]
        else:
            mean = np.zeros((channels, 1, 1), np.float32) if self._mean is None else self._mean
        low, high = ((np.float32(value) - mean) * np.float32(self._scale) for value in (0, 255))
        low, high = np.minimum(low, high), np.maximum(low, high)
        if self._pad or (self._augmentation is not None and self._augmentation.cuts):
            low, high = np.minimum(low, 0), np.maximum(high, 0)
        return low, high

    def draw(self, images: NDArray[Any] | Sequence[NDArray[Any]]) -> NDArray[np.int32]:
        """For each image whether it is mirrored (0 or 1), first row and first column of its window: (N, 3).

        Rows and columns count from the image's corner, so those of a window in the padding are negative.
        """
        return self._draw(images)[0]

    def _draw(self, images: NDArray[Any] | Sequence[NDArray[Any]]) -> tuple[NDArray[np.int32], NDArray[np.uint64]]:
        """The result of `draw`, and the words of the augmentation for each image."""
        n = len(images)
        margin = np.zeros((n, 2), np.int64)
        if self._crop:
            sizes = [images.shape[2:]] * n if isinstance(images, np.ndarray) else [i.shape[1:] for i in images]
            # `_window` raises for images that are too small
            margin = np.maximum(np.array(sizes, np.int64) + 2 * self._pad - self._crop, 0)
        more = 0 if self._augmentation is None else self._augmentation.words
        widths = (_WORDS, more)
        words, changes = (
            self.rng.rows(n, *widths) if self.random else [np.zeros((n, width), np.uint64) for width in widths]
        )
        flips = (words[:, 0] % 2 == 1) & self._mirror
        offsets = words[:, 1:] % (margin + 1).astype(np.uint64) if self._random_crop else margin // 2
        rows, columns = (offsets.astype(np.int64) - self._pad).T
        return np.column_stack([flips, rows, columns]).astype(np.int32), changes

    def _window(self, images: NDArray[Any], row: np.int32, column: np.int32, out: NDArray[Any]) -> None:
        channels, height, width = self.output_shape(images.shape[1:])
        if out.shape != (len(images), channels, height, width):
            raise DataError(
                f"images of shape {images.shape[1:]} become {(channels, height, width)}, expected {out.shape[1:]}"
                + ("" if self._crop else "; images of different sizes need a crop_size")
            )
        window = (..., slice(row, row + height), slice(column, column + width))
        if self._pad:
            out[...] = 0
            (window, inside) = _overlap((row, column), (height, width), images.shape[2:])
            out = out[inside]
        if self._mean is None:
            np.copyto(out, images[window])
        else:
            full_size = self._mean.shape[1:] != (1, 1)
            np.subtract(images[window], self._mean[window] if full_size else self._mean, out=out)
        if self._scale != 1:
            out *= out.dtype.type(self._scale)

    def _check_mean(self, mean: NDArray[np.float32], shape: Shape) -> None:
        if self._mean_file and mean.shape != shape:
            raise DataError(f'mean file "{self._mean_file}" has shape {mean.shape}, the images have {shape}')
        if not self._mean_file and len(mean) not in (1, shape[0]):
            raise DataError(
                f"transform_param has {len(mean)} mean_value, expected 1 or {shape[0]} for images of shape {shape}"
            )


def _overlap(start: Sequence[Any], size: Sequence[int], image: Sequence[int]) -> tuple[tuple[Any, ...], ...]:
    """Where a window from `start`, of `size`, overlaps an image: indices of that part in the image and the window."""
    first = [max(int(at), 0) for at in start]
    end = [max(min(int(at) + n, whole), begin) for at, n, whole, begin in zip(start, size, image, first, strict=True)]
    here = tuple(slice(a, b) for a, b in zip(first, end, strict=True))
    there = tuple(slice(a - int(at), b - int(at)) for a, b, at in zip(first, end, start, strict=True))
    return (..., *here), (..., *there)
