"""SSD's noise_param: changes of a resized image that are the same in TRAIN and TEST.

Source: weiliu89/caffe, branch ssd, im_transforms.cpp. The steps follow each other in the order of `apply_noise`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.data.detection.clahe import clahe
from dragon.data.detection.draws import Draws
from dragon.data.hsv import to_hsv
from dragon.data.image_file import decode_image, encode_image
from dragon.errors import DataError
from dragon.proto import dragon_pb2 as pb

__all__ = ["apply_noise", "check_noise"]

Image = NDArray[np.uint8]
_GREY = np.array([0.114, 0.587, 0.299], np.float32).reshape(-1, 1, 1)  # BT.601, blue first
_STEP = 64  # grey levels that posterize makes one
_BLUR, _SIGMA = 3, 1.5  # radius and deviation in pixels
_CLIP = 4.0  # of clahe


def check_noise(p: pb.NoiseParameter) -> str:
    """What is wrong with a noise_param, in words; "" for a good one."""
    if p.convert_to_lab:
        return "has convert_to_lab, which is not offered: leave it out"
    if not 0 <= p.prob <= 1 or not 0 <= p.saltpepper_param.fraction <= 1:
        return f"needs prob and fraction in [0, 1], got {p.prob:g} and {p.saltpepper_param.fraction:g}"
    if p.jpeg > 100:
        return f"needs a jpeg of at most 100, got {p.jpeg:g}"
    if p.saltpepper and not p.saltpepper_param.value:
        return "has saltpepper without saltpepper_param { value }"
    return ""


def apply_noise(image: Image, p: pb.NoiseParameter, draws: Draws) -> Image:
    """The image (C, H, W) with the changes of `p`; with a `prob`, only that part of the images.

    Raises DataError for changes of colour in images without three channels.
    """
    if p.HasField("prob") and draws.uniform() >= p.prob:
        return image
    if len(image) != 3 and (p.decolorize or p.convert_to_hsv):
        raise DataError(f"noise_param changes colours, which needs images of 3 channels, got {len(image)}")
    if p.decolorize:
        image = np.repeat(_grey(image), 3, axis=0)
    if p.gauss_blur:
        image = _blurred(image)
    if p.hist_eq:
        image = _equalized(image)
    if p.clahe:
        grey = _grey(image)[0] if len(image) == 3 else image[0]
        image = _regreyed(image, clahe(grey, _CLIP))
    if p.jpeg > 0:
        image = decode_image(encode_image(image, "jpg", max(1, int(p.jpeg))))
    if p.erode:
        image = _eroded(image)
    if p.posterize:
        image = image // _STEP * _STEP + _STEP // 2
    if p.inverse:
        image = ~image
    if p.saltpepper:
        image = _salted(image, p.saltpepper_param, draws)
    return to_hsv(image) if p.convert_to_hsv else image


def _grey(image: Image) -> Image:
    return _bytes((image * _GREY).sum(axis=0, keepdims=True))


def _blurred(image: Image) -> Image:
    """Gauss' kernel of 7 x 7 pixels; the image is mirrored at its edges."""
    kernel = np.exp(-(np.arange(-_BLUR, _BLUR + 1) ** 2) / (2 * _SIGMA**2)).astype(np.float32)
    kernel /= kernel.sum()
    made: NDArray[Any] = np.pad(image, [(0, 0), (_BLUR, _BLUR), (_BLUR, _BLUR)], mode="reflect").astype(np.float32)
    for axis in (1, 2):
        size = made.shape[axis] - 2 * _BLUR
        made = sum(made.take(range(k, k + size), axis) * weight for k, weight in enumerate(kernel))
    return _bytes(made)


def _equalized(image: Image) -> Image:
    """The histogram of the grey values made even."""
    grey = _grey(image) if len(image) == 3 else image
    counts = np.bincount(grey.ravel(), minlength=256)
    first = int(np.flatnonzero(counts)[0])
    rest = grey.size - counts[first]
    if not rest:
        return image
    levels = np.clip(np.rint((np.cumsum(counts) - counts[first]) * (255 / rest)), 0, 255)
    return _regreyed(image, levels[grey[0]])


def _regreyed(image: Image, even: NDArray[Any]) -> Image:
    """The image with these grey values (H, W); colours keep their differences from grey."""
    return _bytes(image + (even - _grey(image))) if len(image) == 3 else even.astype(np.uint8)[None]


def _eroded(image: Image) -> Image:
    """The smallest value of each pixel and its four neighbours."""
    wide = np.pad(image, [(0, 0), (1, 1), (1, 1)], mode="edge")
    height, width = image.shape[1:]
    around = [(1, 1), (0, 1), (2, 1), (1, 0), (1, 2)]
    made: Image = np.min([wide[:, y : y + height, x : x + width] for y, x in around], axis=0)
    return made


def _salted(image: Image, p: pb.SaltPepperParameter, draws: Draws) -> Image:
    if len(p.value) not in (1, len(image)):
        raise DataError(f"saltpepper_param has {len(p.value)} value, expected 1 or {len(image)}")
    height, width = image.shape[1:]
    count = int(p.fraction * height * width)
    places = draws.many(2 * count).reshape(2, -1) * np.array([[height], [width]])
    rows, columns = places.astype(np.intp)
    made = image.copy()
    made[:, rows, columns] = np.array(p.value).astype(np.int64).astype(np.uint8).reshape(-1, 1)
    return made


def _bytes(values: NDArray[Any]) -> Image:
    made: Image = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return made
