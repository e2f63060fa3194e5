"""The boxes of SSD: PriorBox and DetectionOutput."""

from __future__ import annotations

from typing import cast

import numpy as np

from dragon.export.onnx.forms import NoFormError, writes
from dragon.export.onnx.graph import Graph
from dragon.graph.node import Node
from dragon.layers.detection_output import DetectionOutput
from dragon.layers.prior_box import PriorBox
from dragon.proto import dragon_pb2 as pb


@writes("PriorBox")
def prior_box(g: Graph, node: Node) -> str:
    """A constant: the boxes for the sizes that the net has."""
    layer = cast(PriorBox, node.layer)
    boxes = layer.boxes.reshape(-1)
    variance = np.resize(np.array(layer.variance), boxes.size)
    return g.constant(np.stack([boxes, variance])[None], "boxes")


@writes("DetectionOutput")
def detection_output(g: Graph, node: Node) -> str:
    """NonMaxSuppression for each item, among the boxes of the highest scores of each class, and TopK of what is left.

    The number of rows is known only at run time.
    """
    layer = cast(DetectionOutput, node.layer)
    p = layer.param.detection_output_param
    if p.nms_param.eta < 1:
        raise NoFormError(
            "has nms_param { eta } below 1, a threshold that falls: leave it out, or cut the net before it"
        )
    if g.growing.get(id(node.bottoms[0])):
        raise NoFormError("chooses boxes for each item of the batch: leave out dynamic-batch")
    boxes = _decoded(g, node, layer)
    scores = g.reshape(g.bottom(node, 1), [layer.n, layer.priors, layer.classes])
    scores = g.op("Transpose", scores, perm=[0, 2, 1])
    if len(node.bottoms) > 3:  # what is no object has the score 0 in all classes
        objects = g.slice(g.reshape(g.bottom(node, 3), [layer.n, layer.priors, 2]), {2: slice(1, 2)})
        empty = g.op("Less", g.op("Transpose", objects, perm=[0, 2, 1]), g.number(p.objectness_score))
        scores = g.op("Where", empty, g.number(0.0), scores)
    labels = [label for label in range(layer.classes) if label != p.background_label_id]
    scores = g.op("Gather", scores, g.ints(labels), axis=1)
    if layer.locations > 1:
        boxes = g.op("Gather", boxes, g.ints(labels), axis=1)
    else:
        boxes = g.op("Expand", boxes, g.ints([layer.n, len(labels), layer.priors, 4]))
    count = layer.priors
    if p.nms_param.HasField("top_k") and -1 < p.nms_param.top_k < count:
        count = p.nms_param.top_k
        scores, best = g.ops("TopK", 2, scores, g.ints([count]), axis=2)
        best = g.op("Expand", g.op("Unsqueeze", best, g.ints([3])), g.ints([layer.n, len(labels), count, 4]))
        boxes = g.op("GatherElements", boxes, best, axis=2)
    rows = [_item(g, layer, item, boxes, scores, labels, count) for item in range(layer.n)]
    found = rows[0] if len(rows) == 1 else g.op("Concat", *rows, axis=0)
    # without any box there is a row of -1 for each item
    none = np.array([[item, *[-1] * 6] for item in range(layer.n)], np.float32)
    return g.reshape(or_else(g, found, g.constant(none, "none"), g.ints([layer.n])), [1, 1, -1, 7])


def or_else(g: Graph, found: str, instead: str, rows: str) -> str:
    """Rows that were found or, where there are none, those of `instead`; `rows` is their number, a list of one."""
    size = g.slice(g.op("Shape", found), {0: slice(0, 1)})
    missing = g.op("Mul", g.cast(g.op("Equal", size, g.ints([0])), "INT64"), rows)
    return g.op("Concat", found, g.op("Slice", instead, g.ints([0]), missing, g.ints([0])), axis=0)


def keep_best(g: Graph, rows: str, values: str, most: int) -> str:
    """At most so many rows, those of the highest values, in the order in which they were."""
    size = g.slice(g.op("Shape", rows), {0: slice(0, 1)})
    _, best = g.ops("TopK", 2, values, g.op("Min", size, g.ints([most])), axis=0)
    best, _ = g.ops("TopK", 2, best, g.slice(g.op("Shape", best), {0: slice(0, 1)}), axis=0, largest=0)
    return g.op("Gather", rows, best, axis=0)


def _decoded(g: Graph, node: Node, layer: DetectionOutput) -> str:
    """The boxes (N, locations, P, 4)."""
    p = layer.param.detection_output_param
    both = g.reshape(g.bottom(node, 2), [2, 1, layer.priors, 4])
    prior, variance = (g.slice(both, {0: slice(i, i + 1)}) for i in range(2))
    factors = "" if p.variance_encoded_in_target else variance
    if len(node.bottoms) > 4:
        moves = g.reshape(g.bottom(node, 4), [layer.n, 1, layer.priors, 4])
        prior = _moved(g, prior, factors, moves, p.code_type)
    offset = g.reshape(g.bottom(node), [layer.n, layer.priors, layer.locations, 4])
    return _moved(g, prior, factors, g.op("Transpose", offset, perm=[0, 2, 1, 3]), p.code_type)


def _moved(g: Graph, prior: str, factors: str, offset: str, code: int) -> str:
    """The boxes that offsets encode relative to `prior`, all of four axes; `factors` of the offsets may be ""."""
    if factors:
        offset = g.op("Mul", offset, factors)
    if code == pb.PriorBoxParameter.CORNER:
        return g.op("Add", offset, prior)
    low, high = (g.slice(prior, {3: slice(i, i + 2)}) for i in (0, 2))
    size = g.op("Sub", high, low)
    if code == pb.PriorBoxParameter.CORNER_SIZE:
        return g.op("Add", g.op("Mul", offset, g.op("Concat", size, size, axis=3)), prior)
    shift, growth = (g.slice(offset, {3: slice(i, i + 2)}) for i in (0, 2))
    center = g.op("Add", g.op("Mul", shift, size), g.scaled(g.op("Add", low, high), 0.5))
    half = g.op("Mul", g.op("Exp", growth), g.scaled(size, 0.5))
    return g.op("Concat", g.op("Sub", center, half), g.op("Add", center, half), axis=3)


def _item(g: Graph, layer: DetectionOutput, item: int, boxes: str, scores: str, labels: list[int], count: int) -> str:
    """The rows (K, 7) of one item: each class is a batch of its own for NonMaxSuppression."""
    p = layer.param.detection_output_param
    boxes = g.reshape(g.slice(boxes, {0: slice(item, item + 1)}), [len(labels), count, 4])
    scores = g.reshape(g.slice(scores, {0: slice(item, item + 1)}), [len(labels), 1, count])
    limit = "" if layer.min_score is None else g.constant(np.array([layer.min_score], np.float32), "least score")
    overlap = g.constant(np.array([min(p.nms_param.nms_threshold, 1.0)], np.float32), "most overlap")
    plain = boxes
    if p.code_type != pb.PriorBoxParameter.CENTER_SIZE:
        # a box whose maximum lies below its minimum has no area; NonMaxSuppression would exchange the two
        low, high = (g.slice(boxes, {2: slice(i, i + 2)}) for i in (0, 2))
        plain = g.op("Concat", low, g.op("Max", low, high), axis=2)
    chosen = g.op("NonMaxSuppression", plain, scores, g.ints([count]), overlap, *([limit] if limit else []))
    if -1 < p.keep_top_k < count * len(labels):
        chosen = keep_best(g, chosen, g.op("GatherND", scores, chosen), p.keep_top_k)
    kind = g.slice(chosen, {1: slice(0, 1)})
    place = g.op("Concat", kind, g.slice(chosen, {1: slice(2, 3)}), axis=1)
    box = g.op("GatherND", boxes, place)
    score = g.op("Unsqueeze", g.op("GatherND", scores, chosen), g.ints([1]))
    label = g.op("Gather", g.constant(np.array(labels, np.float32), "labels"), kind, axis=0)
    number = g.scaled(g.op("Mul", label, g.number(0)), 1, item)
    return g.op("Concat", number, label, score, box, axis=1)
