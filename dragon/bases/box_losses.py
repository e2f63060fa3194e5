"""Losses of boxes by their overlap with true ones, and their gradients: IoU, GIoU, DIoU and CIoU."""

from __future__ import annotations

import math

import numpy as np

from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb

__all__ = ["overlap_loss"]


def overlap_loss(boxes: Array, true: Array, kind: int) -> tuple[Array, Array]:
    """1 - overlap (M) of `boxes` with `true` (both (M, 4): centre, width, height), and its gradient (M, 4).

    kind: a Yolov3Parameter.IOU_LOSS. GIOU (Rezatofighi et al. 2019) subtracts from the overlap the share of the
    enclosing box that the union leaves; DIOU (Zheng et al. 2020) the squared distance of the centres divided by that
    of the enclosing box's corners; CIOU also alpha * v, which compares the aspect ratios. alpha is a constant in the
    gradient, as there.
    """
    low, high = boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2
    true_low, true_high = true[:, :2] - true[:, 2:] / 2, true[:, :2] + true[:, 2:] / 2
    shared = np.minimum(high, true_high) - np.maximum(low, true_low)
    shared = np.where((shared > 0).all(axis=1, keepdims=True), shared, 0)
    both = shared.prod(axis=1, keepdims=True)
    union = boxes[:, 2:].prod(axis=1, keepdims=True) + true[:, 2:].prod(axis=1, keepdims=True) - both
    union = np.maximum(union, np.finfo(float).tiny)
    # derivatives with respect to (low, high), each (M, 2, 2): end, axis
    other = shared[:, ::-1]
    d_both = np.stack([(low > true_low) * -other, (high < true_high) * other], axis=1)
    size = boxes[:, 2:][:, ::-1]
    d_union = np.stack([-size, size], axis=1) - d_both
    value = both / union
    slope = (d_both * union[:, None] - both[:, None] * d_union) / union[:, None] ** 2
    direct = np.zeros((len(boxes), 2, 2))  # derivatives with respect to the centre and to the size
    around = np.maximum(high, true_high) - np.minimum(low, true_low)
    if kind == pb.Yolov3Parameter.GIOU:
        hull = around.prod(axis=1, keepdims=True)
        across = around[:, ::-1]
        d_hull = np.stack([(low < true_low) * -across, (high > true_high) * across], axis=1)
        value = value - 1 + union / hull
        slope = slope + (d_union * hull[:, None] - union[:, None] * d_hull) / hull[:, None] ** 2
    elif kind in (pb.Yolov3Parameter.DIOU, pb.Yolov3Parameter.CIOU):
        apart = boxes[:, :2] - true[:, :2]
        distance = (apart**2).sum(axis=1, keepdims=True)
        diagonal = (around**2).sum(axis=1, keepdims=True)
        d_diagonal = 2 * np.stack([(low < true_low) * -around, (high > true_high) * around], axis=1)
        if kind == pb.Yolov3Parameter.CIOU:
            ratio = np.arctan2(true[:, 2], true[:, 3]) - np.arctan2(boxes[:, 2], boxes[:, 3])
            shape = (4 / math.pi**2) * ratio**2
            alpha = shape / np.maximum(1 - value[:, 0] + shape, np.finfo(float).tiny)
            squares = (boxes[:, 2:] ** 2).sum(axis=1)
            turn = -(8 / math.pi**2) * ratio * alpha / squares
            direct[:, 1] = -turn[:, None] * np.stack([boxes[:, 3], -boxes[:, 2]], axis=1)
            value = value - (alpha * shape)[:, None]
        value = value - distance / diagonal
        direct[:, 0] = -2 * apart / diagonal
        slope = slope + (distance / diagonal**2)[:, None] * d_diagonal
    gradient = np.concatenate(
        [slope.sum(axis=1) + direct[:, 0], (slope[:, 1] - slope[:, 0]) / 2 + direct[:, 1]], axis=1
    )
    return 1 - value[:, 0], -gradient
