"""How coordinates of one top of a NetSpec map to those of another, and crops that align the two.

dragon.bases.coordinates explains maps; each layer type has its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dragon.bases.coordinates import IDENTITY, Coordinates, window
from dragon.bases.registry import class_of, find_class, layer_types
from dragon.pycaffe.missing_names import missing_name
from dragon.pycaffe.net_spec import Function, Layers, Top, layers

__all__ = ["AxisMismatchException", "UndefinedMapException", "compose", "conv_params", "coord_map"]
__all__ += ["coord_map_from_to", "crop", "crop_params", "inverse"]

Map = Coordinates


class UndefinedMapException(Exception):
    """A layer has no known map of coordinates."""


class AxisMismatchException(Exception):
    """Two maps act on different axes."""


def conv_params(fn: Function) -> tuple[int, NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Axis before the spatial ones, stride, extent of the (dilated) kernel and padding of a layer with windows.

    Each of the last three has one value, or one for each spatial axis. Raises UndefinedMapException for a layer without
    windows.
    """
    layer = fn.settings_proto()
    settings = [getattr(layer, name) for name in class_of(layer).settings]
    p = next((p for p in settings if "kernel_size" in p.DESCRIPTOR.fields_by_name), None)
    if p is None:
        raise UndefinedMapException(f"{fn.type_name}: the layer has no windows")
    return (getattr(p, "axis", 1), *window(p))


def crop_params(fn: Function) -> tuple[int, NDArray[Any]]:
    """The first axis that a Crop layer cuts, and its offsets: one value, or one for each axis from there on."""
    p = fn.settings_proto().crop_param
    return p.axis, np.array(list(p.offset) or [0])


def coord_map(fn: Function) -> Map:
    """The map from a layer's (first) bottom to its tops. Raises UndefinedMapException for a layer without one."""
    layer = fn.settings_proto()
    found = class_of(layer).coordinates(layer)
    if found is None:
        raise UndefinedMapException(f"{fn.type_name}: no map of coordinates is known for these settings")
    return found


def compose(outer: Map, inner: Map) -> Map:
    """The map that applies `inner` first, then `outer`. Raises AxisMismatchException if their axes differ."""
    (axis, a1, b1), (axis2, a2, b2) = outer, inner
    if axis is None:
        axis = axis2
    elif axis2 is not None and axis != axis2:
        raise AxisMismatchException(f"maps on axes {axis} and {axis2}")
    return axis, a1 * a2, a1 * b2 + b1


def inverse(coordinates: Map) -> Map:
    """The inverse of a map."""
    axis, a, b = coordinates
    return axis, 1 / a, -b / a


def _below(top: Top) -> list[tuple[Top, Map]]:
    """Each bottom whose coordinates map to those of the top, with its map to the top."""
    fn = top.fn
    if not fn.inputs:
        return []
    try:
        through = coord_map(fn)
    except UndefinedMapException:
        return []
    sizes = class_of(fn.settings_proto()).size_bottoms
    return [(bottom, through) for i, bottom in enumerate(fn.inputs) if i not in sizes]


def _ancestors(top: Top) -> dict[Top, Map | None]:
    """Every top from which `top` is computed, nearest first, with its map to `top`; None where axes do not agree."""
    maps: dict[Top, Map | None] = {top: IDENTITY}
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

    Raises RuntimeError when no path of spatial layers connects the two.
    """
    from_maps = _ancestors(top_from)
    for top, to_map in _ancestors(top_to).items():
        from_map = from_maps.get(top)
        if to_map is not None and from_map is not None:
            return compose(to_map, inverse(from_map))
    raise RuntimeError("Could not compute map between tops; are they connected by spatial layers?")


def crop(top_from: Top, top_to: Top) -> Any:
    """A Crop layer that cuts `top_from` to the size and position of `top_to`; returns its top.

    Raises AssertionError when the scales differ, or the offset is negative or not a whole number.
    """
    axis, a, b = coord_map_from_to(top_from, top_to)
    a, b = np.array(a, ndmin=1), np.array(b, ndmin=1)
    for holds, message in (
        ((a == 1).all(), f"scale mismatch on crop (a = {a})"),
        ((b <= 0).all(), f"cannot crop negative offset (b = {b})"),
        ((np.round(b) == b).all(), f"cannot crop noninteger offset (b = {b})"),
    ):
        if not holds:
            raise AssertionError(message)
    offset = [int(-x) for x in b]
    return layers.Crop(top_from, top_to, crop_param={"axis": (1 if axis is None else axis) + 1, "offset": offset})


L: Layers
PASS_THROUGH_LAYERS: list[str]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Names of pycaffe's module: the layer functions as `L`, and `PASS_THROUGH_LAYERS`, which loads all types."""
        if name == "L":
            return layers
        if name == "PASS_THROUGH_LAYERS":
            return [name for name in layer_types() if (kind := find_class(name)) is not None and kind.pointwise]
        raise missing_name("coord_map", name, __all__)
