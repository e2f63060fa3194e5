"""Regions and boxes of Faster R-CNN and R-FCN: Proposal and RCNNDetectionOutput.

Offsets are decoded in float64, as the layers do: a corner that another rounding moves by a millionth could fall into
another bin of the pooling behind it.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from dragon.bases.anchors import MAX_LOG, anchor_grid
from dragon.export.onnx.forms import writes
from dragon.export.onnx.forms.boxes import keep_best, or_else
from dragon.export.onnx.graph import Graph
from dragon.graph.node import Node
from dragon.layers.proposal import Proposal
from dragon.layers.rcnn_detection_output import RCNNDetectionOutput
from dragon.memory.storage import Array

_LOWEST = -1e38  # the score of an anchor that is too small; NonMaxSuppression takes those above a tenth of it


@writes("Proposal")
def proposal(g: Graph, node: Node) -> list[str]:
    """The anchors of the map's size, TopK and NonMaxSuppression. The number of regions is known only at run time."""
    layer = cast(Proposal, node.layer)
    p = layer.param.proposal_param
    count, (rows, columns) = len(layer.anchors), node.bottoms[0].shape[2:]
    anchors = anchor_grid(layer.anchors, rows, columns, layer.stride)
    scores = g.slice(g.bottom(node), {1: slice(count, 2 * count)})
    scores = g.reshape(g.op("Transpose", scores, perm=[0, 2, 3, 1]), [-1])
    offsets = g.reshape(g.op("Transpose", g.bottom(node, 1), perm=[0, 2, 3, 1]), [-1, 4])
    info = _info(g, node, 2)
    sizes = _exact(g, anchors[:, 2:] - anchors[:, :2] + 1, "sizes")
    corners = _exact(g, anchors[:, :2], "corners")
    boxes = _decoded(g, sizes, corners, g.cast(offsets, "DOUBLE"), 1)
    boxes = _clipped(g, boxes, info)
    least = g.op("Mul", g.slice(info, {0: slice(2, 3)}), _exact(g, float(p.min_size)))
    narrow = g.op("Less", _sizes(g, boxes, 1), least)
    small = g.op("Or", *(g.reshape(g.slice(narrow, {1: slice(i, i + 1)}), [-1]) for i in range(2)))
    scores = g.op("Where", small, g.number(_LOWEST), scores)
    most = len(anchors)
    if 0 < p.pre_nms_topn < most:
        most = p.pre_nms_topn
        scores, best = g.ops("TopK", 2, scores, g.ints([most]), axis=0)
        boxes = g.op("Gather", boxes, best, axis=0)
    boxes = g.cast(boxes, "FLOAT")
    chosen = _suppressed(
        g, g.reshape(boxes, [1, most, 4]), g.reshape(scores, [1, 1, most]), g.ints([p.post_nms_topn or most]),
        p.nms_thresh, _LOWEST / 10,
    )  # fmt: skip
    place = g.reshape(g.slice(chosen, {1: slice(2, 3)}), [-1])
    image = g.cast(g.op("Sub", g.op("Gather", info, g.ints([1, 0])), _exact(g, 1.0)), "FLOAT")
    corner = g.constant(np.zeros(3, np.float32), "item and corner")
    whole = g.reshape(g.op("Concat", corner, image, axis=0), [1, 5])
    found = g.op("Pad", g.op("Gather", boxes, place, axis=0), g.ints([0, 1, 0, 0]))
    values = g.reshape(g.op("Gather", scores, place, axis=0), [-1, 1])
    one = g.ints([1])
    tops = [or_else(g, found, whole, one)]
    return tops if len(node.tops) == 1 else [*tops, or_else(g, values, g.constant(np.zeros((1, 1), np.float32)), one)]


@writes("RCNNDetectionOutput")
def rcnn_detection_output(g: Graph, node: Node) -> str:
    """NonMaxSuppression for each class. The number of rows is known only at run time."""
    layer = cast(RCNNDetectionOutput, node.layer)
    p = layer.param.rcnn_detection_output_param
    classes = layer.classes
    each = node.bottoms[2].count // (4 * node.bottoms[0].shape[0])
    rois = g.reshape(g.bottom(node), [-1, 5])
    scores = g.op("Transpose", g.reshape(g.bottom(node, 1), [-1, classes]), perm=[1, 0])
    scores = g.op("Unsqueeze", g.slice(scores, {0: slice(1, classes)}), g.ints([1]))
    offsets = g.cast(g.reshape(g.bottom(node, 2), [-1, each, 4]), "DOUBLE")
    offsets = g.op("Add", g.op("Mul", offsets, _exact(g, layer.std)), _exact(g, layer.mean))
    info = _info(g, node, 3)
    regions = g.op("Unsqueeze", g.cast(g.slice(rois, {1: slice(1, 5)}), "DOUBLE"), g.ints([1]))
    boxes = _decoded(g, _sizes(g, regions, 2), g.slice(regions, {2: slice(0, 2)}), offsets, 2)
    boxes = _clipped(g, boxes, info)
    boxes = g.op("Transpose", boxes, perm=[1, 0, 2])
    if each == classes:
        boxes = g.slice(boxes, {0: slice(1, classes)})
    else:
        boxes = g.op("Tile", g.slice(boxes, {0: slice(1, 2)}), g.ints([classes - 1, 1, 1]))
    most = g.slice(g.op("Shape", rois), {0: slice(0, 1)})
    chosen = _suppressed(g, g.cast(boxes, "FLOAT"), scores, most, p.nms_threshold, p.confidence_threshold)
    if p.keep_top_k > -1:
        chosen = keep_best(g, chosen, g.op("GatherND", scores, chosen), p.keep_top_k)
    kind = g.slice(chosen, {1: slice(0, 1)})
    box = g.op("GatherND", boxes, g.op("Concat", kind, g.slice(chosen, {1: slice(2, 3)}), axis=1))
    box = g.op("Div", g.op("Add", box, _exact(g, np.array([0.0, 0, 1, 1]))), g.op("Gather", info, g.ints([1, 0, 1, 0])))
    box = g.cast(g.op("Min", box, _exact(g, 1.0)), "FLOAT")
    score = g.op("Unsqueeze", g.op("GatherND", scores, chosen), g.ints([1]))
    label = g.scaled(g.cast(kind, "FLOAT"), 1, 1)
    found = g.op("Concat", g.op("Mul", score, g.number(0)), label, score, box, axis=1)
    none = g.constant(np.array([[0, *[-1] * 6]], np.float32), "none")
    return g.reshape(or_else(g, found, none, g.ints([1])), [1, 1, -1, 7])


def _exact(g: Graph, value: float | Array, what: str = "constant") -> str:
    return g.constant(np.asarray(value, np.float64), what, exact=True)


def _info(g: Graph, node: Node, index: int) -> str:
    """Height, width and scale of the image, three numbers in float64."""
    return g.cast(g.slice(g.reshape(g.bottom(node, index), [-1]), {0: slice(0, 3)}), "DOUBLE")


def _sizes(g: Graph, boxes: str, axis: int) -> str:
    """Width and height of boxes x1, y1, x2, y2 along an axis, to which the pixels x2, y2 belong."""
    extent = g.op("Sub", g.slice(boxes, {axis: slice(2, 4)}), g.slice(boxes, {axis: slice(0, 2)}))
    return g.op("Add", extent, _exact(g, 1.0))


def _decoded(g: Graph, size: str, corner: str, offsets: str, axis: int) -> str:
    """`dragon.bases.anchors.decode_offsets` of boxes of this size and first corner; offsets lie along an axis."""
    half = g.op("Mul", size, _exact(g, 0.5))
    moved = g.op("Mul", g.slice(offsets, {axis: slice(0, 2)}), size)
    moved = g.op("Add", g.op("Add", corner, half), moved)
    growth = g.op("Exp", g.op("Min", g.slice(offsets, {axis: slice(2, 4)}), _exact(g, MAX_LOG)))
    half = g.op("Mul", growth, half)
    return g.op("Concat", g.op("Sub", moved, half), g.op("Add", moved, half), axis=axis)


def _clipped(g: Graph, boxes: str, info: str) -> str:
    """Boxes (..., 4) cut at the border of the image."""
    most = g.op("Sub", g.op("Gather", info, g.ints([1, 0, 1, 0])), _exact(g, 1.0))
    zero = _exact(g, 0.0)
    return g.op("Min", g.op("Max", boxes, zero), g.op("Max", most, zero))


def _suppressed(g: Graph, boxes: str, scores: str, most: str, threshold: float, least: float) -> str:
    """What NonMaxSuppression keeps of boxes (B, P, 4) to which the pixels x2, y2 belong: rows of batch, 0, index."""
    edges = g.op("Add", boxes, g.constant(np.array([0, 0, 1, 1], np.float32), "a pixel"))
    overlap = g.constant(np.array([min(threshold, 1.0)], np.float32), "most overlap")
    return g.op(
        "NonMaxSuppression", edges, scores, most, overlap, g.constant(np.array([least], np.float32), "least score")
    )  # fmt: skip
