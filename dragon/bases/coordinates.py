"""Coordinate maps: which position of a bottom a position of the top corresponds to.

A map (axis, a, b) says: coordinate x of the bottom becomes a * x + b in the top, on the axes after `axis` or, if that
is None, on all axes. Windows are mapped centre to centre: a convolution of kernel k, stride s and padding p has
a = 1 / s and b = (p - (k - 1) / 2) / s.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["IDENTITY", "Coordinates", "of_covered", "of_positions", "window"]

Coordinates = tuple[int | None, Any, Any]

IDENTITY: Coordinates = (None, 1, 0)


def _each(p: Any, name: str, short: str, default: int) -> NDArray[Any]:
    """A setting of a window: one value, or one for each spatial axis."""
    sides = [side for side in (f"{short}_h", f"{short}_w") if side in p.DESCRIPTOR.fields_by_name]
    if any(p.HasField(side) for side in sides):
        return np.array([getattr(p, side) if p.HasField(side) else default for side in sides])
    shape = f"{short}_shape"
    if shape in p.DESCRIPTOR.fields_by_name and p.HasField(shape):
        return np.array(list(getattr(p, shape).dim))
    if name not in p.DESCRIPTOR.fields_by_name:
        return np.array([default])
    if p.DESCRIPTOR.fields_by_name[name].is_repeated:
        return np.array(list(getattr(p, name)) or [default])
    return np.array([getattr(p, name) if p.HasField(name) else default])


def window(p: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Stride, extent and padding before the first element, each of one value or of one for each spatial axis.

    p: a ConvolutionParameter, PoolingParameter or LocalParameter.
    """
    extent = (_each(p, "kernel_size", "kernel", 1) - 1) * _each(p, "dilation", "dilation", 1) + 1
    pad = _each(p, "pad", "pad", 0)
    if "pad_t" in p.DESCRIPTOR.fields_by_name and (p.pad_t or p.pad_l):
        pad = pad + np.array([p.pad_t, p.pad_l])
    return _each(p, "stride", "stride", 1), extent, pad


def of_positions(p: Any, axis: int) -> Coordinates:
    """The map of a convolution or pooling, from what the windows slide over to their positions.

    p: a ConvolutionParameter, PoolingParameter or LocalParameter. axis: the axis before the spatial ones.
    """
    stride, extent, pad = window(p)
    return axis, 1 / stride, (pad - (extent - 1) / 2) / stride


def of_covered(p: Any, axis: int) -> Coordinates:
    """The map of a deconvolution, from positions of windows to what the windows cover; p and axis as above."""
    stride, extent, pad = window(p)
    return axis, stride, (extent - 1) / 2 - pad
