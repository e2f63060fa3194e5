"""Other shapes and orders of the same values, and values put together."""

from __future__ import annotations

import itertools

import numpy as np

from dragon.counting import how_many
from dragon.importing.context import Context
from dragon.importing.graph import NoForm
from dragon.importing.operators.arithmetic import broadcast
from dragon.importing.operators.convolution import convolution_settings
from dragon.importing.registry import operator


@operator("Reshape", "Squeeze", "Unsqueeze")
def reshape(c: Context) -> None:
    """Reshape, with the sizes that the graph computes filled in."""
    shape, wanted = c.shape(), c.constant(1)
    if c.node.op == "Reshape" and wanted is not None and c.graph.shapes.get(c.node.outputs[0]) is None:
        raise NoForm(f"its input of shape {shape} has no shape {tuple(map(int, wanted))}: try another --batch")
    c.result(c.reshape(c.blob(), shape, c.output_shape()))


@operator("Flatten")
def flatten(c: Context) -> None:
    """Flatten for axis 1, else Reshape."""
    shape = c.shape()
    if c.node.integer("axis", 1) != 1 or len(shape) < 2:
        c.result(c.reshape(c.blob(), shape, c.output_shape()))
    else:
        c.result(c.blob() if len(shape) == 2 else c.layer("Flatten", c.blob()))


@operator("Identity")
def identity(c: Context) -> None:
    """Nothing; Split where the value is an output under two names."""
    c.result(c.blob())


@operator("Transpose")
def transpose(c: Context) -> None:
    """Permute; Reshape where only axes of extent 1 move."""
    shape = c.shape()
    order = c.node.integers("perm") or tuple(reversed(range(len(shape))))
    if sorted(order) != list(range(len(shape))):
        raise NoForm(f"its order {order} does not name each of {how_many(len(shape), 'axis')} once")
    c.result(c.permute(c.blob(), shape, order))


@operator("Expand")
def expand(c: Context) -> None:
    """Tile, once for each axis that grows."""
    c.result(broadcast(c, c.blob(), c.shape(), c.output_shape()))


@operator("Tile")
def tile(c: Context) -> None:
    """Tile, once for each axis that is repeated."""
    blob = c.blob()
    for axis, count in enumerate(c.list_of("repeats", 1) or ()):
        if count < 1:
            raise NoForm("it repeats an axis 0 times")
        if count > 1:
            blob = c.layer("Tile", blob, f"tile{axis}", tile_param={"axis": axis, "tiles": count})
    c.result(blob)


@operator("Concat")
def concat(c: Context) -> None:
    """The layer Concat."""
    axis = c.axis(c.node.integer("axis", 1), len(c.output_shape()))
    blobs = [c.blob(k) for k in range(len(c.node.inputs))]
    if len(blobs) == 1:
        c.result(blobs[0])
    else:
        c.result(c.layer("Concat", blobs, concat_param={} if axis == 1 else {"axis": axis}))


@operator("DepthToSpace")
def depth_to_space(c: Context) -> None:
    """Reshape and Permute; with --bvlc a Deconvolution that copies."""
    n, channels, height, width = _image(c)
    block = c.node.integer("blocksize", 0)
    column_first = c.node.text("mode", "DCR") == "CRD"
    if block < 1 or channels % (block * block):
        raise NoForm(f"its blocks of {block} do not divide {how_many(channels, 'channel')}")
    depth = channels // (block * block)
    if c.bvlc:
        weight = np.zeros((channels, depth, block, block), np.float32)
        for row, column, k in np.ndindex(block, block, depth):
            source = (k * block + row) * block + column if column_first else (row * block + column) * depth + k
            weight[source, k, row, column] = 1
        ones = [1, 1]
        settings = convolution_settings(depth, [block] * 2, [block] * 2, [0, 0], ones, 1)
        c.result(
            c.layer("Deconvolution", c.blob(), arrays=[weight], convolution_param={**settings, "bias_term": False})
        )
        return
    parts = (n, depth, block, block, height, width) if column_first else (n, block, block, depth, height, width)
    order = (0, 1, 4, 2, 5, 3) if column_first else (0, 3, 4, 1, 5, 2)
    _rearrange(c, parts, order)


@operator("SpaceToDepth")
def space_to_depth(c: Context) -> None:
    """Reshape and Permute; with --bvlc, and for the Focus of YOLOv5, a Convolution that copies."""
    n, channels, height, width = _image(c)
    block = c.node.integer("blocksize", 0)
    if block < 1 or height % block or width % block:
        raise NoForm(f"its blocks of {block} do not divide an image of {height} x {width}")
    channel_first = c.node.text("mode", "DCR") == "CRD"  # as DepthToSpace has it; given by patterns alone
    given = c.node.integers("places")
    places = list(np.ndindex(block, block)) if given is None else list(zip(given[::2], given[1::2], strict=True))
    if c.bvlc or given is not None:
        weight = np.zeros((channels * block * block, channels, block, block), np.float32)
        for (at, (row, column)), k in itertools.product(enumerate(places), range(channels)):
            weight[k * block * block + at if channel_first else at * channels + k, k, row, column] = 1
        settings = convolution_settings(len(weight), [block] * 2, [block] * 2, [0, 0], [1, 1], 1)
        c.result(c.layer("Convolution", c.blob(), arrays=[weight], convolution_param={**settings, "bias_term": False}))
        return
    order = (0, 1, 3, 5, 2, 4) if channel_first else (0, 3, 5, 1, 2, 4)
    _rearrange(c, (n, channels, height // block, block, width // block, block), order)


def _image(c: Context) -> tuple[int, int, int, int]:
    shape = c.shape()
    if len(shape) != 4:
        raise NoForm(f"its input has shape {shape}, not (N, C, H, W)")
    return shape[0], shape[1], shape[2], shape[3]


def _rearrange(c: Context, parts: tuple[int, ...], order: tuple[int, ...]) -> None:
    apart = c.reshape(c.blob(), c.shape(), parts, "parts")
    turned = c.permute(apart, parts, order)
    c.result(c.reshape(turned, [parts[axis] for axis in order], c.output_shape()))


@operator("ShuffleChannel")
def shuffle_channels(c: Context) -> None:
    """ShuffleChannel, for Reshape, Transpose and Reshape; with --bvlc a Convolution that copies."""
    group, channels = c.node.integer("group", 1), c.shape()[1]
    if not c.bvlc:
        c.result(c.layer("ShuffleChannel", c.blob(), shuffle_channel_param={"group": group}))
        return
    source = np.arange(channels).reshape(group, -1).T.reshape(-1)
    weight = np.eye(channels, dtype=np.float32)[source].reshape(channels, channels, 1, 1)
    ones = [1, 1]
    settings = convolution_settings(channels, ones, ones, [0, 0], ones, 1)
    c.result(c.layer("Convolution", c.blob(), arrays=[weight], convolution_param={**settings, "bias_term": False}))
