"""How coordinates of one top of a NetSpec map to those of another, and crops that align the two.

A map (axis, a, b) says: coordinate x of the first becomes a * x + b, on the axes behind `axis`. Windows are mapped
centre to centre: a convolution of kernel k, stride s and padding p has a = 1 / s and b = (p - (k - 1) / 2) / s.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.pycaffe.net_spec import Function, Top, layers

__all__ = ["AxisMismatchException", "UndefinedMapException", "compose", "coord_map", "coord_map_from_to", "crop"]
__all__ += ["inverse"]

Map = tuple[int | None, Any, Any]

_IDENTITY: Map = (None, 1, 0)
_POINTWISE = {
    *("PReLU", "ReLU", "ReLU6", "ELU", "Clip", "Swish", "LRN", "MVN", "BatchNorm", "BN", "Scale", "Bias", "Dropout"),
    *("Eltwise", "Concat", "Softmax", "Sigmoid", "TanH", "AbsVal", "BNLL", "Power", "Exp", "Log", "Split"),
    *("Threshold", "SoftmaxWithLoss"),
}


class UndefinedMapException(Exception):
    """The layer's type has no known map of coordinates."""


class AxisMismatchException(Exception):
    """Two maps act on different axes."""


def _window(fn: Function) -> tuple[int, NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Axis, stride, extent of the kernel and padding, one value or one for each spatial axis."""
    settings: dict[str, Any] = {}
    for value in (fn.params.get("convolution_param"), fn.params.get("pooling_param"), fn.params):
        settings.update(value or {})

    def each(name: str, short: str, default: int) -> NDArray[Any]:
        if f"{short}_h" in settings or f"{short}_w" in settings:
            pair = [settings.get(f"{short}_h", default), settings.get(f"{short}_w", default)]
            return np.array(pair, ndmin=1)
        return np.array(settings.get(name, default), ndmin=1)

    if settings.get("global_pooling"):
        raise UndefinedMapException(f"{fn.type_name}: global_pooling has no map of coordinates")
    kernel = each("kernel_size", "kernel", 1)
    extent = (kernel - 1) * each("dilation", "dilation", 1) + 1
    return settings.get("axis", 1), each("stride", "stride", 1), extent, each("pad", "pad", 0)


def coord_map(fn: Function) -> Map:
    """The map from a layer's (first) bottom to its tops. UndefinedMapException for types without one."""
    if fn.type_name in ("Convolution", "Pooling", "Im2col", "DepthwiseConvolution", "ConvolutionDepthwise"):
        axis, stride, extent, pad = _window(fn)
        return axis, 1 / stride, (pad - (extent - 1) / 2) / stride
    if fn.type_name == "Deconvolution":
        axis, stride, extent, pad = _window(fn)
        return axis, stride, (extent - 1) / 2 - pad
    if fn.type_name in _POINTWISE:
        return _IDENTITY
    if fn.type_name == "Crop":
        settings = {**fn.params, **fn.params.get("crop_param", {})}
        return settings.get("axis", 2) - 1, 1, -np.array(settings.get("offset", 0), ndmin=1)
    raise UndefinedMapException(f"{fn.type_name}: no map of coordinates is known")


def compose(outer: Map, inner: Map) -> Map:
    """First `inner`, then `outer`. AxisMismatchException when they act on different axes."""
    (axis, a1, b1), (axis2, a2, b2) = outer, inner
    if axis is None:
        axis = axis2
    elif axis2 is not None and axis != axis2:
        raise AxisMismatchException(f"maps on axes {axis} and {axis2}")
    return axis, a1 * a2, a1 * b2 + b1


def inverse(coordinates: Map) -> Map:
    """The map back."""
    axis, a, b = coordinates
    return axis, 1 / a, -b / a


def _below(top: Top) -> list[tuple[Top, Map]]:
    """Each bottom that has the top's geometry, with its map to the top."""
    fn = top.fn
    bottoms = fn.inputs[:1] if fn.type_name == "Crop" else fn.inputs
    if not bottoms:
        return []
    try:
        through = coord_map(fn)
    except UndefinedMapException:
        return []
    return [(bottom, through) for bottom in bottoms]


def _ancestors(top: Top) -> dict[Top, Map | None]:
    """Every top below, nearest first, with its map to `top`; None where axes disagree on the way."""
    maps: dict[Top, Map | None] = {top: _IDENTITY}
    queue = [top]
    for upper in queue:
        so_far = maps[upper]
        for bottom, through in _below(upper):
            if bottom in maps:
                continue
            try:
                maps[bottom] = compose(so_far, through) if so_far is not None else None
            except AxisMismatchException:
                maps[bottom] = None
            queue.append(bottom)
    return maps


def coord_map_from_to(top_from: Top, top_to: Top) -> Map:
    """The map from coordinates of `top_from` to those of `top_to`.

    RuntimeError when no path of spatial layers connects the two.
    """
    from_maps = _ancestors(top_from)
    for top, to_map in _ancestors(top_to).items():
        from_map = from_maps.get(top)
        if to_map is not None and from_map is not None:
            return compose(to_map, inverse(from_map))
    raise RuntimeError("Could not compute map between tops; are they connected by spatial layers?")


def crop(top_from: Top, top_to: Top) -> Any:
    """A Crop layer that cuts `top_from` to the size and position of `top_to`.

    AssertionError when the scales differ, or the offset is negative or no whole number.
    """
    axis, a, b = coord_map_from_to(top_from, top_to)
    a, b = np.array(a, ndmin=1), np.array(b, ndmin=1)
    for fine, message in (
        ((a == 1).all(), f"scale mismatch on crop (a = {a})"),
        ((b <= 0).all(), f"cannot crop negative offset (b = {b})"),
        ((np.round(b) == b).all(), f"cannot crop noninteger offset (b = {b})"),
    ):
        if not fine:
            raise AssertionError(message)
    offset = [int(-x) for x in b]
    return layers.Crop(top_from, top_to, crop_param={"axis": (1 if axis is None else axis) + 1, "offset": offset})
