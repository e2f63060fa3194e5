"""A net whose data layers are replaced by inputs, so that it can be built where its data is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dragon.bases.registry import class_of
from dragon.counting import how_many
from dragon.data import read_mean
from dragon.errors import DataError, DragonError, LayerName, UsageError
from dragon.files.paths import find
from dragon.graph.definition import admits
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition

__all__ = ["without_data"]

_COLOURS = 3


def without_data(
    definition: Definition[pb.NetParameter], state: pb.NetState, shape: Sequence[int] | None = None
) -> tuple[Definition[pb.NetParameter], list[str]]:
    """The net with an Input in place of each data layer that `state` admits, and a line on each that says its shapes.

    shape: of the first top of each source, (C, H, W) or with the batch before it; of an Input too. Without it, the
    shape is that of the crop, of the size to which images are resized, or of the mean image. The batch is the layer's,
    further tops have one value for each example. Raises DataError for a layer whose shape nothing says.
    """
    net = pb.NetParameter()
    net.CopyFrom(definition.message)
    notes = []
    for i, layer in enumerate(net.layer):
        if not admits(layer, state):
            continue
        if class_of(layer).reads_data:
            first, why = _shape(definition, i, layer, shape)
            shapes = [first, *[(first[0],)] * (len(layer.top) - 1)]
            tops = ", ".join(f"{top} {'x'.join(map(str, size))}" for top, size in zip(layer.top, shapes, strict=True))
            notes.append(f'"{layer.name}" ({layer.type}) is not read; shapes: {tops} ({why})')
        elif layer.type == "Input" and shape is not None:
            dims = layer.input_param.shape
            batch = dims[0].dim[0] if dims and dims[0].dim else 1
            shapes = [_with_batch(shape, batch), *(tuple(given.dim) for given in dims[1:])]
        else:
            continue
        for field in ("input_param", *class_of(layer).settings):
            layer.ClearField(field)
        layer.type = "Input"
        for size in shapes:
            layer.input_param.shape.add(dim=size)
    return replace(definition, message=net), notes


def _shape(
    definition: Definition[pb.NetParameter], index: int, layer: pb.LayerParameter, given: Sequence[int] | None
) -> tuple[tuple[int, ...], str]:
    """The shape of a data layer's first top, and where it is from."""
    settings = [getattr(layer, name) for name in class_of(layer).settings]
    batch = next((int(one.batch_size) for one in settings if hasattr(one, "batch_size")), 1) or 1
    if given is not None:
        return _with_batch(given, batch), "--input-shape"
    if layer.type == "MemoryData":
        p = layer.memory_data_param
        return (p.batch_size, p.channels, p.height, p.width), "memory_data_param"
    channels, height, width, why = _image(definition, layer, settings)
    if height is None or width is None:
        raise DataError(
            "its data is not there, and nothing says its shape: give --input-shape C,H,W",
            layer=LayerName(layer.name, layer.type), position=definition.position(index),
        )  # fmt: skip
    if channels is None:
        channels = _COLOURS
        why += f"; {how_many(channels, 'channel')}, which is a guess"
    return (batch, channels, height, width), why


def _image(
    definition: Definition[pb.NetParameter], layer: pb.LayerParameter, settings: Sequence[Any]
) -> tuple[int | None, int | None, int | None, str]:
    """Channels, height and width of the images as far as settings and the mean image say them, and which said it."""
    t = layer.transform_param
    mean = _mean(definition, t.mean_file)
    channels = None if mean is None else mean[0]
    if len(t.mean_value) > 1:
        channels = len(t.mean_value)
    if t.force_gray or any(hasattr(one, "is_color") and not one.is_color for one in settings):
        channels = 1
    if t.crop_size:
        return channels, t.crop_size, t.crop_size, "crop_size"
    for first, second in (("crop_h", "crop_w"), ("crop_height", "crop_width")):
        if getattr(t, first) and getattr(t, second):
            return channels, getattr(t, first), getattr(t, second), first
    for one in settings:
        if getattr(one, "crop_size", 0):  # of WindowData and old files
            return channels, one.crop_size, one.crop_size, "crop_size"
        if getattr(one, "new_height", 0) and getattr(one, "new_width", 0):
            return channels, one.new_height, one.new_width, "new_height, new_width"
    if mean is not None:
        return channels, mean[1], mean[2], "mean_file"
    return channels, None, None, ""


def _mean(definition: Definition[pb.NetParameter], path: str) -> tuple[int, int, int] | None:
    """The shape of the mean image; None where there is none that can be read."""
    found = find(path, definition.folder) if path else None
    try:
        channels, height, width = read_mean(found).shape if found is not None else (0, 0, 0)
    except (DragonError, OSError, ValueError):
        return None
    return (channels, height, width) if channels else None


def _with_batch(shape: Sequence[int], batch: int) -> tuple[int, ...]:
    if len(shape) == 4:
        return tuple(shape)
    if len(shape) == 3:
        return (batch, *shape)
    raise UsageError(f"--input-shape takes C,H,W or N,C,H,W, got {','.join(map(str, shape))}")
