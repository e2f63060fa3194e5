"""Resizing of images as arrays: `resize_image` of pycaffe's io, and `resize`, which pycaffe has from scikit-image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.data.resize import check_resized

__all__ = ["Image", "resize", "resize_image"]

Image = NDArray[np.float32]

_MODES = ("constant", "edge", "reflect", "symmetric", "wrap")


_ORDERS = range(6)
_REACH = 30  # pixels on each side that count in a spline: those beyond have weights below 1e-10


def _b_spline(x: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """The centred B-spline of a degree `order` at x, by truncated powers (Unser 1999)."""
    terms = (
        (-1) ** j * math.comb(order + 1, j) * np.maximum(x + (order + 1) / 2 - j, 0) ** order for j in range(order + 2)
    )
    found: NDArray[np.float64] = sum(terms, np.zeros_like(x)) / math.factorial(order)
    return found


@cache
def _coefficients(order: int) -> NDArray[np.float64]:
    """(2 * 64 + 1,) weights of B-splines, centred, whose sum is 1 at 0 and 0 at all other whole numbers."""
    at = np.arange(-64.0, 65)
    return np.fft.fftshift(np.fft.ifft(1 / np.fft.fft(np.fft.ifftshift(_b_spline(at, order)))).real)


def _spline(t: NDArray[np.float64], order: int) -> dict[int, NDArray[np.float64]]:
    """What the pixels around the positions t count, by their offsets: the spline through all pixels."""
    near = range(-order, order + 1)
    values = {k: _b_spline(t - k, order) for k in near}
    coefficients = _coefficients(order)

    def weight(offset: int) -> NDArray[np.float64]:
        return sum((values[k] * coefficients[64 + offset - k] for k in near), np.zeros_like(t))

    return {offset: weight(offset) for offset in range(-_REACH, _REACH + 1)}


def _weights(old: int, new: int, order: int, mode: str = "edge") -> NDArray[np.float64]:
    """(new, old + 1) matrix that interpolates along one axis, pixel centres aligned; the last column is the outside's.

    order: 0 nearest, 1 linear, 3 cubic (Keys 1981, a = -1/2), the others splines of that degree, as scikit-image has
    them. mode: what stands for pixels outside, as in `numpy.pad`.
    """
    at = (np.arange(new) + 0.5) * old / new - 0.5
    first = np.floor(at + (0.5 if order == 0 else 0)).astype(int)
    t = at - first
    taps: dict[int, NDArray[Any]]
    if order == 0:
        taps = {0: np.ones(new)}
    elif order == 1:
        taps = {0: 1 - t, 1: t}
    elif order == 3:
        taps = {
            -1: -0.5 * t + t**2 - 0.5 * t**3,
            0: 1 - 2.5 * t**2 + 1.5 * t**3,
            1: 0.5 * t + 2 * t**2 - 1.5 * t**3,
            2: -0.5 * t**2 + 0.5 * t**3,
        }
    else:
        taps = _spline(t, order)
    inside, border = np.arange(old), 1 + max(map(abs, taps))
    places = np.pad(inside, border, constant_values=old) if mode == "constant" else np.pad(inside, border, mode=mode)  # type: ignore[call-overload]
    matrix = np.zeros((new, old + 1))
    for offset, weight in taps.items():
        np.add.at(matrix, (np.arange(new), places[first + offset + border]), weight)
    return matrix


def _check_order(order: int, name: str) -> None:
    if order not in _ORDERS:
        raise ValueError(f"{name} must be a whole number from 0 to 5, got {order!r}")


def resize_image(im: NDArray[Any], new_dims: Sequence[int], interp_order: int = 1) -> Image:
    """An (H, W, K) array resized to new_dims (H', W') without scaling the values; ValueError for other shapes.

    interp_order: 0 nearest, 1 linear, 3 cubic; 2, 4 and 5 splines of that degree. Raises ShapeError for a size that
    this machine's memory does not hold.
    """
    if im.ndim != 3:
        raise ValueError(f"an image has the shape (H, W, K), got {im.shape}")
    _check_order(interp_order, "interp_order")
    height, width = (int(d) for d in new_dims)
    check_resized(im.shape[2], height, width)
    rows = _weights(im.shape[0], height, interp_order)[:, :-1]
    columns = _weights(im.shape[1], width, interp_order)[:, :-1]
    out = np.einsum("ah,hwk->awk", rows, im, optimize=True)
    result: Image = np.einsum("bw,awk->abk", columns, out, optimize=True).astype(np.float32)
    return result


def resize(
    image: NDArray[Any],
    output_shape: Sequence[int] | NDArray[Any],
    order: int = 1,
    mode: str = "edge",
    cval: float = 0,
    clip: bool = True,
    preserve_range: bool = False,
) -> NDArray[Any]:
    """An array resized along every axis to `output_shape`, whose axes beyond it are kept; without antialiasing.

    order: 0 nearest, 1 linear, 3 cubic; 2, 4 and 5 splines of that degree. mode: what stands for pixels outside,
    `constant` (cval), `edge`, `reflect`, `symmetric` or `wrap`. clip: cut the results off at the range of the image.
    Integers become floats from 0 to 1 (signed ones from -1) unless `preserve_range`; float32 stays float32, and
    everything else is float64. Raises ValueError for another order or mode, ShapeError for a size that this machine's
    memory does not hold.
    """
    _check_order(order, "order")
    if mode not in _MODES:
        raise ValueError(f"mode must be one of {', '.join(_MODES)}, got {mode!r}")
    array = np.asarray(image)
    kept = np.float32 if array.dtype == np.float32 else np.float64
    scale = np.iinfo(array.dtype).max if array.dtype.kind in "ui" and not preserve_range else 1
    shape = tuple(int(d) for d in output_shape)
    out: NDArray[Any] = array.astype(np.float64).reshape(array.shape + (1,) * (len(shape) - array.ndim)) / scale
    low, high = (out.min(), out.max()) if out.size else (0, 0)
    check_resized(*shape, *out.shape[len(shape) :])
    for axis, (old, new) in enumerate(zip(out.shape, shape, strict=False)):
        if old != new:
            matrix = _weights(old, new, order, mode)
            moved = np.moveaxis(out, axis, -1)
            out = np.moveaxis(moved @ matrix[:, :-1].T + matrix[:, -1] * cval, -1, axis)
    if clip:
        ends = (low, high) if mode != "constant" else (min(low, cval), max(high, cval))
        out = np.clip(out, *ends)
    return out.astype(kept)
