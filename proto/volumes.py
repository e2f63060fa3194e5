"""Upgrade of forks' windows over three axes: to kernel_size, stride and pad of Convolution, and the shapes of Pooling.

C3D gives the first axis, time, in fields of its own (`kernel_depth`, `temporal_stride`, `temporal_pad`) and has types
that end in 3D; video-caffe's NdConvolution and NdPooling give `kernel_shape`, `stride_shape` and `pad_shape`; Intel
Caffe gives `kernel_size_3d`, `stride_3d` and `pad_3d` of a Pooling.
"""

from __future__ import annotations

from typing import NoReturn

from dragon.errors import LayerName, PrototxtError
from dragon.proto import dragon_pb2 as pb

__all__ = ["FORMER_TYPES", "has_volume", "upgrade_volume"]

# type in a fork -> the type that reading a net makes of it
FORMER_TYPES = {
    "Convolution3D": "Convolution",
    "NdConvolution": "Convolution",
    "Deconvolution3D": "Deconvolution",
    "Pooling3D": "Pooling",
    "NdPooling": "Pooling",
}
# setting -> C3D's field for the first axis, what it is where that is unset, video-caffe's name, Intel Caffe's
_SETTINGS = {
    "kernel_size": ("kernel_depth", None, "kernel_shape", "kernel_size_3d"),
    "stride": ("temporal_stride", 1, "stride_shape", "stride_3d"),
    "pad": ("temporal_pad", 0, "pad_shape", "pad_3d"),
}
_FIRST_AXIS = [names[0] for names in _SETTINGS.values()]
_Window = pb.ConvolutionParameter | pb.PoolingParameter


def has_volume(layer: pb.LayerParameter) -> bool:
    """Whether a layer has the type of such a fork, or sets one of these fields."""
    if layer.type in FORMER_TYPES:
        return True
    p, q = layer.convolution_param, layer.pooling_param
    return (layer.HasField("convolution_param") and any(map(p.HasField, [*_CONVOLUTION, *_FIRST_AXIS]))) or (
        layer.HasField("pooling_param")
        and (any(map(q.HasField, _FIRST_AXIS)) or any(getattr(q, names[3]) for names in _SETTINGS.values()))
    )


_CONVOLUTION = ["filter_group", *(names[2] for names in _SETTINGS.values())]


def upgrade_volume(layer: pb.LayerParameter) -> bool:
    """Bring a layer to the present form; whether it was in one of the others. Raises PrototxtError."""
    if not has_volume(layer):
        return False
    by_depth = layer.type.endswith("3D")
    layer.type = FORMER_TYPES.get(layer.type, layer.type)
    if layer.type == "Pooling":
        _upgrade_pooling(layer, by_depth)
    else:
        _upgrade_convolution(layer, by_depth)
    return True


def _upgrade_convolution(layer: pb.LayerParameter, by_depth: bool) -> None:
    p = layer.convolution_param
    values = _first_axis(layer, p, by_depth)
    for setting, (_, _, shape, _) in _SETTINGS.items():
        found = values.get(setting) or list(getattr(p, shape).dim)
        if found and not values and getattr(p, setting):
            _fail(layer, f"give {setting} or {shape}, not both")
        if found:
            getattr(p, setting)[:] = _short(layer, found, setting)
        p.ClearField(shape)
    p.ClearField("filter_group")


def _upgrade_pooling(layer: pb.LayerParameter, by_depth: bool) -> None:
    p = layer.pooling_param
    values = _first_axis(layer, p, by_depth)
    for setting, (_, _, shape, intel) in _SETTINGS.items():
        found = values.get(setting) or list(getattr(p, intel))
        if found and p.HasField(shape):
            _fail(layer, f"give {shape} or {setting if values else intel}, not both")
        if found:
            p.ClearField(setting)
            short = _short(layer, found, setting)
            if len(short) == 1:
                setattr(p, setting, short[0])
            elif short:
                getattr(p, shape).dim[:] = short
        p.ClearField(intel)


def _first_axis(layer: pb.LayerParameter, p: _Window, by_depth: bool) -> dict[str, list[int]]:
    """Kernel, stride and padding of the three axes where the first one has fields of its own; empty elsewhere.

    by_depth: the type has such fields, so that they hold even where they are unset.
    """
    given = [name for name in _FIRST_AXIS if p.HasField(name)]
    whole = isinstance(p, pb.PoolingParameter) and p.global_pooling
    if not given and (not by_depth or whole):
        return {}
    values = {}
    for setting, (name, default, _, _) in _SETTINGS.items():
        first = getattr(p, name) if p.HasField(name) else default
        if first is None:
            _fail(layer, f"{name} is missing" + (f", {given[0]} is given" if given else ""))
        values[setting] = [first, *_others(layer, p, setting, 0 if default is None else default)]
        p.ClearField(name)
    return values


def _others(layer: pb.LayerParameter, p: _Window, setting: str, default: int) -> list[int]:
    """A setting of height and width, and clear its other spelling: kernel_h and kernel_w."""
    short = setting.removesuffix("_size")
    sides = [f"{short}_h", f"{short}_w"]
    given = getattr(p, setting)
    if isinstance(p, pb.PoolingParameter):
        given = [given] if p.HasField(setting) else []
    found = [getattr(p, side) if p.HasField(side) else default for side in sides]
    if any(map(p.HasField, sides)):
        if given:
            _fail(layer, f"give {setting} or {sides[0]} and {sides[1]}, not both")
        for side in sides:
            p.ClearField(side)
        return found
    if len(given) > 1:
        _fail(layer, f"{setting} is one number for height and width beside {_SETTINGS[setting][0]}, got {len(given)}")
    if not given and setting == "kernel_size":
        _fail(layer, "kernel_size is missing")
    return [*given, *given] if given else [default, default]


def _short(layer: pb.LayerParameter, values: list[int], setting: str) -> list[int]:
    """One value if all are equal, none if they are the default. Raises PrototxtError for one out of range."""
    if wrong := [value for value in values if not 0 <= value < 1 << 32]:
        _fail(layer, f"{setting} takes whole numbers from 0 to {(1 << 32) - 1:,}, got {wrong[0]:,}")
    if len(set(values)) > 1:
        return values
    return [] if values[0] == _SETTINGS[setting][1] else values[:1]


def _fail(layer: pb.LayerParameter, what: str) -> NoReturn:
    raise PrototxtError(what, layer=LayerName(layer.name, layer.type))
