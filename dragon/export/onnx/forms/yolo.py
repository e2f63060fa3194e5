"""YOLO's layers: those that read boxes from maps; losses have no form.

Everything up to the choice is computed in float64, as in the layers, so that the same boxes pass the threshold of the
scores and stand in the same order. NonMaxSuppression alone computes overlaps in float32.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from dragon.bases.yolo import GAUSSIAN, MAX_LOG
from dragon.bases.yolo_output import YoloOutput
from dragon.export.onnx.forms import lacks, writes
from dragon.export.onnx.forms.boxes import or_else
from dragon.export.onnx.graph import Graph
from dragon.graph.node import Node
from dragon.layers.yolo_detection_output import YoloDetectionOutput
from dragon.layers.yolov3_detection_output import Yolov3DetectionOutput

lacks("only scores, and is left out", "DetectionLoss", "GaussianYolov3", "RegionLoss", "Yolov3")

# before overlaps are computed, so that areas of boxes from exp(-50) to exp(50) fit float32; a power of 2 is exact
_SHRINK = 2.0**-12
_SAME = 0  # of a Reshape: the axis as it is


@writes("YoloDetectionOutput")
def yolo_detection_output(g: Graph, node: Node) -> str:
    """A softmax over the classes times the score of an object; NonZero, TopK and NonMaxSuppression of all classes.

    The number of rows is known only at run time.
    """
    layer = cast(YoloDetectionOutput, node.layer)
    least = _exact(g, layer.least)
    scores, boxes = [], []
    for index in range(len(node.bottoms)):
        x = _map(g, node, layer, index)
        of_classes = _channels(g, x, layer.values, layer.values + layer.classes)
        powers = g.op("Exp", g.op("Sub", of_classes, g.reduce("ReduceMax", of_classes, [4])))
        objects = _logistic(g, _channels(g, x, layer.values - 1, layer.values))
        found = g.op("Mul", powers, g.op("Div", objects, g.reduce("ReduceSum", powers, [4])))
        scores.append(_flat(g, g.op("Where", g.op("Less", found, least), _exact(g, 0.0), found), layer, node, index))
        boxes.append(_boxes(g, node, layer, index, x))
    of_classes = _joined(g, scores)
    return _rows(g, node, layer, of_classes, _joined(g, boxes), _is_best(g, layer, of_classes))


@writes("Yolov3DetectionOutput")
def yolov3_detection_output(g: Graph, node: Node) -> str:
    """Sigmoids of classes times that of an object; NonZero, TopK and NonMaxSuppression of all classes.

    The number of rows is known only at run time. Only the best class of a box is taken, since the others would be
    dropped: they have the same box. That is so unless it has no area, or nothing is dropped.
    """
    layer = cast(Yolov3DetectionOutput, node.layer)
    least = _exact(g, layer.least)
    scores, boxes = [], []
    for index in range(len(node.bottoms)):
        x = _map(g, node, layer, index)
        of_classes = _logistic(g, _channels(g, x, layer.values, layer.values + layer.classes))
        found = g.op("Mul", of_classes, _logistic(g, _channels(g, x, layer.values - 1, layer.values)))
        if layer.values == GAUSSIAN:
            doubt = g.reduce("ReduceMean", _logistic(g, g.slice(x, {4: slice(1, 8, 2)})), [4])
            found = g.op("Mul", found, g.op("Sub", _exact(g, 1.0), doubt))
        scores.append(_flat(g, g.op("Where", g.op("Greater", found, least), found, _exact(g, 0.0)), layer, node, index))
        boxes.append(_boxes(g, node, layer, index, x))
    of_classes, corners = _joined(g, scores), _joined(g, boxes)
    if layer.nms_threshold > 1:
        return _rows(g, node, layer, of_classes, corners, "")
    sides = g.op("Sub", g.slice(corners, {2: slice(2, 4)}), g.slice(corners, {2: slice(0, 2)}))
    area = g.op("Mul", g.slice(sides, {2: slice(0, 1)}), g.slice(sides, {2: slice(1, 2)}))
    empty = g.op("Not", g.op("Greater", area, _exact(g, 0.0)))
    return _rows(g, node, layer, of_classes, corners, g.op("Or", _is_best(g, layer, of_classes), empty))


def _exact(g: Graph, value: float) -> str:
    return g.constant(np.float64(value), exact=True)


def _logistic(g: Graph, x: str) -> str:
    """`dragon.bases.yolo.logistic`, which is 0 for very negative numbers, as Sigmoid is not."""
    half = _exact(g, 0.5)
    return g.op("Mul", half, g.op("Add", _exact(g, 1.0), g.op("Tanh", g.op("Mul", half, x))))


def _map(g: Graph, node: Node, layer: YoloOutput, index: int) -> str:
    """A bottom as (N, H, W, anchors, channels) in float64."""
    shape = [_SAME, layer.anchors, layer.values + layer.classes, *node.bottoms[index].shape[2:]]
    x = g.op("Transpose", g.reshape(g.bottom(node, index), shape), perm=[0, 3, 4, 1, 2])
    return g.cast(x, "DOUBLE")


def _flat(g: Graph, x: str, layer: YoloOutput, node: Node, index: int) -> str:
    """Numbers (N, H, W, anchors, C) of a bottom as (N, P, C): the places in the order of the layer's candidates."""
    height, width = node.bottoms[index].shape[2:]
    return g.reshape(x, [_SAME, height * width * layer.anchors, -1])


def _channels(g: Graph, x: str, start: int, stop: int) -> str:
    return g.slice(x, {4: slice(start, stop)})


def _joined(g: Graph, parts: list[str]) -> str:
    """Numbers (N, P, C) of all bottoms, one after another."""
    return parts[0] if len(parts) == 1 else g.op("Concat", *parts, axis=1)


def _boxes(g: Graph, node: Node, layer: YoloOutput, index: int, x: str) -> str:
    """Corners (N, P, 4), as `dragon.bases.yolo.decode_map` computes them."""
    height, width = node.bottoms[index].shape[2:]
    places = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)[:, :, None].astype(np.float64)
    step = 2 if layer.values == GAUSSIAN else 1
    shift, growth = (g.slice(x, {4: slice(start, start + 2 * step, step)}) for start in (0, 2 * step))
    centre = g.op("Add", _logistic(g, shift), g.constant(places, "places", exact=True))
    centre = g.op("Div", centre, g.constant(np.array([width, height], np.float64), "positions", exact=True))
    growth = g.op("Exp", g.op("Min", growth, _exact(g, MAX_LOG)))
    size = g.op("Mul", growth, g.constant(layer.sizes(index, height, width), "anchors", exact=True))
    half = g.op("Div", size, _exact(g, 2.0))
    return _flat(g, g.op("Concat", g.op("Sub", centre, half), g.op("Add", centre, half), axis=4), layer, node, index)


def _is_best(g: Graph, layer: YoloOutput, scores: str) -> str:
    """Whether a score (N, P, C) is the highest of its box, the first of them if several are."""
    best = g.op("ArgMax", scores, axis=2, keepdims=1)
    return g.op("Equal", best, g.constant(np.arange(layer.classes)))


def _rows(g: Graph, node: Node, layer: YoloOutput, scores: str, boxes: str, allowed: str) -> str:
    """The layer's top, of scores (N, P, C), corners (N, P, 4) and which scores may be taken (N, P, C; all if "").

    Candidates of all items are ordered by their scores. NonMaxSuppression gets their places in that order as scores,
    which float32 holds exactly, and takes items for classes: each has its own candidates of the same list of boxes.
    """
    there = g.op("Greater", scores, _exact(g, 0.0))
    if allowed:
        there = g.op("And", there, allowed)
    at = g.op("Transpose", g.op("NonZero", there), perm=[1, 0])  # item, place, class
    count = g.slice(g.op("Shape", at), {0: slice(0, 1)})
    found, order = g.ops("TopK", 2, g.op("GatherND", scores, at), count, axis=0)
    at = g.op("Gather", at, order, axis=0)
    corners = g.op("GatherND", boxes, g.slice(at, {1: slice(0, 2)}))
    item = g.slice(at, {1: slice(0, 1)})
    n = g.slice(g.op("Shape", scores), {0: slice(0, 1)})
    items = _range(g, n)
    belongs = g.op("Equal", g.reshape(items, [-1, 1]), g.reshape(item, [1, -1]))
    rank = g.cast(g.op("Sub", count, _range(g, count)), "FLOAT")
    ranks = g.op("Unsqueeze", g.op("Where", belongs, rank, g.number(0.0)), g.ints([0]))
    shrunk = g.cast(g.op("Mul", corners, _exact(g, _SHRINK)), "FLOAT")
    chosen = g.op(
        "NonMaxSuppression", g.op("Unsqueeze", shrunk, g.ints([0])), ranks,
        g.ints([1]) if layer.nms_threshold <= 0 else count,  # any overlap, also none, is at least 0
        g.constant(np.array([_threshold(layer.nms_threshold)], np.float32), "most overlap"),
        g.constant(np.array([0.5], np.float32), "least rank"),
    )  # fmt: skip
    kept = g.reshape(g.slice(chosen, {1: slice(2, 3)}), [-1])
    numbers = [item, g.op("Add", g.slice(at, {1: slice(2, 3)}), g.ints([1]))]
    parts = [*(g.cast(one, "FLOAT") for one in numbers), g.cast(g.reshape(found, [-1, 1]), "FLOAT")]
    rows = g.op("Gather", g.op("Concat", *parts, g.cast(corners, "FLOAT"), axis=1), kept, axis=0)
    missing = g.constant(np.full((1, 6), -1, np.float32), "none")
    missing = g.op("Expand", missing, g.op("Concat", n, g.ints([6]), axis=0))
    none = g.op("Concat", g.cast(g.reshape(items, [-1, 1]), "FLOAT"), missing, axis=1)
    return g.reshape(or_else(g, rows, none, n), [1, 1, -1, 7])


def _threshold(value: float) -> float:
    """The largest overlap that does not drop a box: the layers drop one whose overlap is the threshold itself."""
    least = np.float32(0)
    return 1.0 if value > 1 else float(np.nextafter(max(np.float32(value), least), least))


def _range(g: Graph, count: str) -> str:
    """0, 1, ... below a count, which is a list of one integer."""
    scalar = g.op("Squeeze", count, g.ints([0]))
    return g.op("Range", g.constant(np.int64(0)), scalar, g.constant(np.int64(1)))
