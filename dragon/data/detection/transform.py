"""What SSD's data layer does to an image with boxes before the mean is taken off.

The order is the fork's: colours, larger canvas, a window that a batch sampler found, resizing, noise, a crop, mirror.
The fork stores the image as a JPEG between these steps, which changes its pixels a little; here it stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.data.detection.distort import check_distortion, distort, expand
from dragon.data.detection.draws import Draws
from dragon.data.detection.geometry import BOX, NONE, UNIT, project
from dragon.data.detection.noise import apply_noise, check_noise
from dragon.data.detection.resized import check_resizes, extrapolated, resize, resized_boxes, size_after
from dragon.data.detection.sampler import check_sampler, jittered, sample
from dragon.data.resize import check_resized
from dragon.errors import DataError
from dragon.proto import dragon_pb2 as pb

__all__ = ["BoxTransform"]

Image = NDArray[Any]
Rows = NDArray[Any]


class BoxTransform:
    """Changes images (C, H, W) uint8 and their annotations, see the module.

    crop: (height, width) of a window of the resized image, or None; random in TRAIN, else central. mean: what the
    canvas of expand_param is filled with. jitter: of YOLO's windows, where there are no samplers; None for none.
    Raises DataError for settings that contradict each other.
    """

    def __init__(
        self,
        param: pb.TransformationParameter,
        samplers: Sequence[pb.BatchSampler],
        crop: tuple[int, int] | None,
        train: bool,
        mean: Any,
        jitter: float | None = None,
    ) -> None:
        self._resizes, self._jitter = list(param.resize_param), jitter
        self._noise = param.noise_param if param.HasField("noise_param") else None
        self._distort = param.distort_param if param.HasField("distort_param") else None
        self._expand = param.expand_param if param.HasField("expand_param") else None
        self._emit = param.emit_constraint if param.HasField("emit_constraint") else None
        self._samplers, self._crop, self._train, self._mean = samplers, crop, train, mean
        self._mirror = param.mirror
        for what, wrong in (
            ("noise_param", self._noise is not None and check_noise(self._noise)),
            ("distort_param", self._distort is not None and check_distortion(self._distort)),
            *(("batch_sampler", check_sampler(one)) for one in samplers),
        ):
            if wrong:
                raise DataError(f"{what} {wrong}")
        if wrong := check_resizes(self._resizes):
            raise DataError(wrong)
        if jitter is not None and not 0 <= jitter < 1:
            raise DataError(f"yolo_data_jitter must lie in [0, 1), got {jitter:g}")
        if self._expand is not None and not 1 <= self._expand.max_expand_ratio < math.inf:
            ratio = self._expand.max_expand_ratio
            raise DataError(f"expand_param needs a finite max_expand_ratio of at least 1, got {ratio:g}")

    @property
    def one_size(self) -> bool:
        """Whether all images come out with one size."""
        fits = len(self._resizes) == 1 and self._resizes[0].resize_mode != pb.ResizeParameter.FIT_SMALL_SIZE
        return fits or self._crop is not None

    def draw_size(self, draws: Callable[[], Draws]) -> int:
        """The number of the resize_param that a batch follows: 0 unless there are several."""
        if len(self._resizes) < 2:
            return 0
        below = np.cumsum([one.prob for one in self._resizes])
        return int(np.searchsorted(below[:-1], draws().uniform() * below[-1], side="right"))

    def size_of(self, image: Image) -> Image:
        """An image of the size that `image` has without random changes, for shapes. Raises DataError, ShapeError."""
        channels, height, width = image.shape
        if self._resizes:
            height, width = size_after(self._resizes[0], height, width)
            check_resized(channels, height, width)
        _fits(self._crop, height, width)
        return np.zeros((channels, *(self._crop or (height, width))), np.float32)

    def apply(self, image: Image, rows: Rows | None, draws: Draws, size: int = 0) -> tuple[Image, Rows]:
        """The changed image and its annotations in fractions of its size. size: from `draw_size`. Raises DataError."""
        to = self._resizes[size] if self._resizes else None
        found = NONE if rows is None else rows
        if self._distort is not None:
            image = distort(image, self._distort, draws)
        if self._expand is not None:
            image, found = expand(image, found, self._expand, self._emit, self._mean, draws)
        window = self._part(found, to, draws)
        if window is not None:
            image, found = _cut(image, window), project(found, window, self._emit)
        height, width = image.shape[1:]
        if to is not None:
            image = resize(image, to, draws)
            found = resized_boxes(found, to, height, width)
        if self._noise is not None:
            image = apply_noise(image, self._noise, draws)
        image, window = self._window(image, draws)
        found = project(found, window, self._emit)
        if self._mirror and draws.below(2):
            image = image[:, :, ::-1]
            found[:, [2, 4]] = 1 - found[:, [4, 2]]
        if to is not None:
            found = extrapolated(found, to, (height, width), window)
        return image, found

    def _part(self, rows: Rows, to: pb.ResizeParameter | None, draws: Draws) -> NDArray[Any] | None:
        """A window (4) of the image that is cut out, None for the whole image."""
        if self._samplers:
            return sample(self._samplers, rows[:, BOX], draws)
        if self._jitter is None:
            return None
        padded = to is not None and to.resize_mode == pb.ResizeParameter.FIT_LARGE_SIZE_AND_PAD
        return jittered(self._jitter, draws, keep_shape=padded)

    def _window(self, image: Image, draws: Draws) -> tuple[Image, NDArray[np.float64]]:
        """The image cropped to the size of the crop, and what part of it that is."""
        _, height, width = image.shape
        if self._crop is None:
            return image, UNIT
        _fits(self._crop, height, width)
        rest = height - self._crop[0], width - self._crop[1]
        top, left = (draws.below(margin + 1) if self._train else margin // 2 for margin in rest)
        bottom, right = top + self._crop[0], left + self._crop[1]
        return image[:, top:bottom, left:right], np.array([left / width, top / height, right / width, bottom / height])


def _fits(crop: tuple[int, int] | None, height: int, width: int) -> None:
    if crop is not None and (crop[0] > height or crop[1] > width):
        raise DataError(f"a crop of {crop[0]} x {crop[1]} is larger than the image, {height} x {width}")


def _cut(image: Image, window: NDArray[Any]) -> Image:
    """The pixels of a window in fractions of the image: its corner and size rounded down, as in the fork."""
    _, height, width = image.shape
    left, top = int(window[0] * width), int(window[1] * height)
    wide, high = max(1, int((window[2] - window[0]) * width)), max(1, int((window[3] - window[1]) * height))
    return image[:, top : top + high, left : left + wide]
