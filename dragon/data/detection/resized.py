"""SSD's resize_param: three ways to give images one size, and what they do to boxes.

Source: weiliu89/caffe, branch ssd, im_transforms.cpp and bbox_util.cpp. For padded images that are higher than
wide the fork computes boxes with a margin that is too large; here they are where the image is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.data.detection.draws import Draws
from dragon.data.detection.geometry import BOX
from dragon.data.resample import resize_area, resize_cubic, resize_lanczos
from dragon.data.resize import check_resized, resize_bilinear, resize_nearest
from dragon.errors import DataError
from dragon.proto import dragon_pb2 as pb

__all__ = ["check_resizes", "extrapolated", "resize", "resized_boxes", "size_after"]

Image = NDArray[Any]
_P = pb.ResizeParameter
_SLACK = 0.01  # of the sum of probabilities, as in MobileNet-YOLO
_PAD = {_P.CONSTANT: "constant", _P.MIRRORED: "reflect", _P.REPEAT_NEAREST: "edge"}
_WAYS: dict[int, Callable[[Image, int, int], Image]] = {
    _P.LINEAR: resize_bilinear,
    _P.AREA: resize_area,
    _P.NEAREST: lambda image, height, width: np.stack([resize_nearest(plane, height, width) for plane in image]),
    _P.CUBIC: resize_cubic,
    _P.LANCZOS4: resize_lanczos,
}


def check_resizes(several: Sequence[pb.ResizeParameter]) -> str:
    """What is wrong with the resize_params, in words; "" for good ones. Of several, each has its probability."""
    if len(several) == 1 and several[0].prob != 1:
        return f"resize_param has prob {several[0].prob:g}, which counts only among several: leave it out"
    shares = [one.prob for one in several]
    if len(several) > 1 and not (min(shares) >= 0 and abs(sum(shares) - 1) <= _SLACK):
        return (
            f"transform_param has {len(several)} resize_param, at most one of which a batch follows: their prob must "
            f"sum to 1 and not be negative, got {', '.join(f'{share:g}' for share in shares)}"
        )
    return next((f"resize_param {wrong}" for wrong in map(_check_resize, several) if wrong), "")


def _check_resize(p: pb.ResizeParameter) -> str:
    if not (p.height and p.width):
        return f"needs height and width, got {p.height} and {p.width}"
    if bool(p.height_scale) != bool(p.width_scale):
        return f"needs height_scale and width_scale together, got {p.height_scale} and {p.width_scale}"
    return ""


def size_after(p: pb.ResizeParameter, height: int, width: int) -> tuple[int, int]:
    """Height and width of an image of this size after it is resized."""
    return _inner(p, height, width) if p.resize_mode == _P.FIT_SMALL_SIZE else (p.height, p.width)


def _inner(p: pb.ResizeParameter, height: int, width: int) -> tuple[int, int]:
    """Height and width of the image itself, without padding."""
    if p.resize_mode == _P.WARP:
        return p.height, p.width
    aspect, wanted = width / height, p.width / p.height
    wide = aspect > wanted if p.resize_mode == _P.FIT_LARGE_SIZE_AND_PAD else aspect < wanted
    return (max(1, int(p.width / aspect)), p.width) if wide else (p.height, max(1, int(aspect * p.height)))


def resize(image: Image, p: pb.ResizeParameter, draws: Draws) -> Image:
    """The image (C, H, W) resized: stretched, its small side fitted, or its large side fitted and the rest padded.

    One of the interp_modes is drawn. Raises DataError for a pad_value that does not fit the channels, ShapeError for an
    absurd size.
    """
    check_resized(len(image), *_inner(p, *image.shape[1:]))
    if p.resize_mode == _P.FIT_LARGE_SIZE_AND_PAD:
        check_resized(len(image), p.height, p.width)
    way = p.interp_mode[draws.below(len(p.interp_mode))] if p.interp_mode else _P.LINEAR
    made = _WAYS[way](image, *_inner(p, *image.shape[1:]))
    if p.resize_mode != _P.FIT_LARGE_SIZE_AND_PAD:
        return made
    rest = (p.height - made.shape[1], p.width - made.shape[2])
    pads = [(0, 0), *((margin // 2, margin - margin // 2) for margin in rest)]
    if p.pad_mode != _P.CONSTANT:
        return np.pad(made, pads, mode=_PAD[p.pad_mode])  # type: ignore[call-overload,no-any-return]
    if len(p.pad_value) not in (0, 1, len(made)):
        raise DataError(f"resize_param has {len(p.pad_value)} pad_value, expected 1 or {len(made)}")
    whole = np.empty((len(made), p.height, p.width), made.dtype)
    values = np.clip(np.rint(np.array(p.pad_value or [0], np.float64)), 0, 255)
    whole[...] = values.reshape(-1, 1, 1)
    (_, _), (top, _), (left, _) = pads
    whole[:, top : top + made.shape[1], left : left + made.shape[2]] = made
    return whole


def resized_boxes(rows: NDArray[Any], p: pb.ResizeParameter, height: int, width: int) -> NDArray[Any]:
    """Annotations of an image of this size, in fractions of what `resize` makes of it."""
    found = rows.copy()
    boxes = found[:, BOX].clip(0, 1)
    if p.resize_mode == _P.FIT_LARGE_SIZE_AND_PAD:
        aspect = width / height
        share = np.minimum(1, [aspect * p.height / p.width, p.width / (aspect * p.height)])
        boxes = boxes * np.tile(share, 2) + np.tile((1 - share) / 2, 2)
    found[:, BOX] = boxes
    return found


def extrapolated(
    rows: NDArray[Any], p: pb.ResizeParameter, size: tuple[int, int], window: NDArray[Any]
) -> NDArray[Any]:
    """Annotations in units of width_scale x height_scale pixels, where those are set with FIT_SMALL_SIZE.

    size: height and width of the image before it was resized. window: the part of the resized image that is left.
    Raises DataError if it is smaller than the scale.
    """
    if not p.height_scale or p.resize_mode != _P.FIT_SMALL_SIZE:
        return rows
    height, width = _fitted(p, *size)
    wide, high = width * (window[2] - window[0]), height * (window[3] - window[1])
    if wide < p.width_scale or high < p.height_scale:
        raise DataError(
            f"an image of {wide:g} x {high:g} pixels is smaller than width_scale {p.width_scale} and height_scale "
            f"{p.height_scale}"
        )
    found = rows.copy()
    found[:, BOX] *= np.tile([wide / p.width_scale, high / p.height_scale], 2)
    return found


def _fitted(p: pb.ResizeParameter, height: int, width: int) -> tuple[float, float]:
    """As `_inner` for FIT_SMALL_SIZE, not rounded to pixels."""
    aspect = width / height
    return (p.width / aspect, p.width) if aspect < p.width / p.height else (p.height, aspect * p.height)
