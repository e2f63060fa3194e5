"""SSD's random changes of colour (distort_param) and its larger canvas around the image (expand_param).

Source: weiliu89/caffe, branch ssd, im_transforms.cpp and data_transformer.cpp.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.data.detection.draws import Draws
from dragon.data.detection.geometry import project
from dragon.data.hsv import from_hsv, to_hsv
from dragon.errors import DataError
from dragon.memory.blob import checked_count
from dragon.proto import dragon_pb2 as pb

__all__ = ["check_distortion", "distort", "expand"]

Image = NDArray[np.uint8]
_LEAST_EXPANSION = 0.01


def check_distortion(p: pb.DistortionParameter) -> str:
    """What is wrong with a distort_param, in words; "" for a good one."""
    for name in ("brightness", "hue"):
        delta = getattr(p, f"{name}_delta")
        if not 0 <= delta < math.inf:
            return f"{name}_delta must be finite and not negative, got {delta:g}"
    for name in ("contrast", "saturation"):
        low, high = getattr(p, f"{name}_lower"), getattr(p, f"{name}_upper")
        if not 0 <= low <= high < math.inf:
            return f"{name}_lower and {name}_upper must be in order, finite and not negative, got {low:g} and {high:g}"
    return ""


def distort(image: Image, p: pb.DistortionParameter, draws: Draws) -> Image:
    """The image (C, H, W) with changed brightness, contrast, saturation and hue, each with its probability.

    In half of the images contrast is changed before saturation and hue, in the others behind them. Brightness is added,
    contrast and saturation are factors, hue is in half degrees. random_order_prob shuffles the channels. Raises
    DataError where colours are asked of an image without three channels.
    """
    if len(image) != 3 and (p.saturation_prob > 0 or p.hue_prob > 0 or p.random_order_prob > 0):
        raise DataError(f"distort_param changes colours, which needs images of 3 channels, got {len(image)}")
    early, *chances = draws.many(5)
    amounts = {
        "brightness": draws.uniform(-p.brightness_delta, p.brightness_delta),
        "contrast": draws.uniform(p.contrast_lower, p.contrast_upper),
        "saturation": draws.uniform(p.saturation_lower, p.saturation_upper),
        "hue": draws.uniform(-p.hue_delta, p.hue_delta),
    }
    drawn = dict(zip(amounts, chances, strict=True))
    steps = ["contrast", "saturation", "hue"] if early > 0.5 else ["saturation", "hue", "contrast"]
    for name in ("brightness", *steps):
        if drawn[name] < getattr(p, f"{name}_prob"):
            image = _changed(image, name, amounts[name])
    if draws.uniform() < p.random_order_prob:
        image = image[draws.order(3)]
    return image


def _changed(image: Image, name: str, amount: float) -> Image:
    if name == "brightness":
        return _bytes(image + np.float32(amount))
    if name == "contrast":
        return _bytes(image * np.float32(amount))
    hsv = to_hsv(image)
    if name == "saturation":
        hsv[1] = _bytes(hsv[1] * np.float32(amount))
    else:
        hsv[0] = _bytes(hsv[0] + np.float32(amount))  # below 0 it stays 0; from 180 on it begins anew
    return from_hsv(hsv)


def _bytes(values: NDArray[Any]) -> Image:
    made: Image = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return made


def expand(
    image: Image, rows: NDArray[Any], p: pb.ExpansionParameter, emit: pb.EmitConstraint | None, mean: Any, draws: Draws
) -> tuple[Image, NDArray[Any]]:
    """The image somewhere on a canvas that is up to max_expand_ratio times as wide and high, and its annotations.

    mean: the values of the canvas, one for each channel or one for all. Drawn with probability `prob`. Raises
    ShapeError for a canvas that would not fit into the machine's memory.
    """
    if draws.uniform() > p.prob or abs(p.max_expand_ratio - 1) < _LEAST_EXPANSION:
        return image, rows
    ratio = draws.uniform(1, p.max_expand_ratio)
    channels, height, width = image.shape
    high, wide = int(height * ratio), int(width * ratio)
    checked_count((channels, high, wide), f"canvas of max_expand_ratio {p.max_expand_ratio:g}")
    top, left = int(draws.uniform(0, high - height)), int(draws.uniform(0, wide - width))
    canvas = np.empty((channels, high, wide), np.uint8)
    canvas[...] = _bytes(np.asarray(mean, np.float32).reshape(-1, 1, 1))
    canvas[:, top : top + height, left : left + width] = image
    window = np.array([-left / width, -top / height, (wide - left) / width, (high - top) / height])
    return canvas, project(rows, window, emit)
