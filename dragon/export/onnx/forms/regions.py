"""Pooling of regions."""

from __future__ import annotations

from typing import cast

import numpy as np

from dragon.export.onnx.forms import writes
from dragon.export.onnx.graph import Graph
from dragon.graph.node import Node
from dragon.layers.psroi_pooling import MIN_EXTENT, PSROIPooling
from dragon.layers.roi_align import ROIAlign
from dragon.layers.roi_pooling import ROIPooling


def _rois(g: Graph, node: Node) -> str:
    """The regions as (R, 5)."""
    return g.bottom(node, 1) if node.bottoms[1].ndim == 2 else g.reshape(g.bottom(node, 1), [-1, 5])


@writes("ROIPooling")
def roi_pooling(g: Graph, node: Node) -> str:
    """The operator MaxRoiPool."""
    layer = cast(ROIPooling, node.layer)
    return g.op(
        "MaxRoiPool", g.bottom(node), _rois(g, node), pooled_shape=list(layer.bins), spatial_scale=float(layer.scale)
    )  # fmt: skip


@writes("ROIAlign")
def roi_align(g: Graph, node: Node) -> str:
    """The operator RoiAlign, without the shift by half a pixel that opset 16 brought."""
    layer = cast(ROIAlign, node.layer)
    rois = _rois(g, node)
    item = g.reshape(g.cast(g.slice(rois, {1: slice(0, 1)}), "INT64"), [-1])
    return g.op(
        "RoiAlign", g.bottom(node), g.slice(rois, {1: slice(1, 5)}), item, output_height=layer.bins[0],
        output_width=layer.bins[1], sampling_ratio=layer.ratio, spatial_scale=float(layer.scale),
        coordinate_transformation_mode="output_half_pixel" if g.opset >= 16 else None,
    )  # fmt: skip


@writes("PSROIPooling")
def psroi_pooling(g: Graph, node: Node) -> str:
    """Sums over bins from a summed-area table in float64, by Gather at the corners of each bin."""
    layer = cast(PSROIPooling, node.layer)
    channels, height, width = node.bottoms[0].shape[1:]
    rois = _rois(g, node)
    edges = g.cast(rois, "DOUBLE")
    item = g.reshape(g.cast(g.slice(rois, {1: slice(0, 1)}), "INT64"), [-1, 1, 1, 1])
    rows = [g.reshape(edge, [-1, 1, layer.group, 1]) for edge in _bins(g, layer, edges, (2, 4), height)]
    columns = [g.reshape(edge, [-1, 1, 1, layer.group]) for edge in _bins(g, layer, edges, (1, 3), width)]
    sums = g.cast(g.bottom(node), "DOUBLE")
    for axis in (2, 3):
        sums = g.op("CumSum", sums, g.constant(np.int64(axis)))
    table = g.reshape(g.op("Pad", sums, g.ints([0, 0, 1, 1, 0, 0, 0, 0])), [-1])
    channel = np.arange(channels).reshape(1, layer.outputs, layer.group, layer.group)
    plane = g.op("Add", g.op("Mul", item, g.ints([channels])), g.constant(channel))
    plane = g.op("Mul", plane, g.ints([(height + 1) * (width + 1)]))

    def corner(row: str, column: str) -> str:
        at = g.op("Add", g.op("Mul", row, g.ints([width + 1])), column)
        return g.op("Gather", table, g.op("Add", plane, at), axis=0)

    whole = g.op("Sub", corner(rows[1], columns[1]), corner(rows[0], columns[1]))
    total = g.op("Sub", whole, g.op("Sub", corner(rows[1], columns[0]), corner(rows[0], columns[0])))
    extents = [g.op("Max", g.op("Sub", last, first), g.ints([0])) for first, last in (rows, columns)]
    area = g.op("Mul", *extents)
    mean = g.op("Div", total, g.cast(g.op("Max", area, g.ints([1])), "DOUBLE"))
    empty = g.op("Equal", area, g.ints([0]))
    return g.cast(g.op("Where", empty, g.constant(np.float64(0), exact=True), mean), "FLOAT")


def _bins(g: Graph, layer: PSROIPooling, rois: str, ends: tuple[int, int], size: int) -> list[str]:
    """The first position of each bin along an axis, and one past the last, each (R, group)."""

    def number(value: float) -> str:
        return g.constant(np.float64(value), exact=True)

    low, high = (g.op("Floor", g.op("Add", g.slice(rois, {1: slice(end, end + 1)}), number(0.5))) for end in ends)
    start = g.op("Mul", low, number(layer.scale))
    end = g.op("Mul", g.op("Add", high, number(1)), number(layer.scale))
    extent = g.op("Div", g.op("Max", g.op("Sub", end, start), number(MIN_EXTENT)), number(layer.group))
    found = []
    for kind, first in (("Floor", 0), ("Ceil", 1)):
        steps = g.constant(np.arange(first, first + layer.group, dtype=np.float64), "steps", exact=True)
        edge = g.op(kind, g.op("Add", g.op("Mul", extent, steps), start))
        edge = g.op("Min", g.op("Max", edge, number(0)), number(size))
        found.append(g.cast(edge, "INT64"))
    return found
