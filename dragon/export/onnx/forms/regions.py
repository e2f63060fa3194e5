"""Regions and boxes."""

from __future__ import annotations

from typing import Any

import numpy as np

from dragon.export.onnx.forms import writes
from dragon.export.onnx.graph import Graph
from dragon.graph.node import Node


@writes("ROIPooling")
def roi_pooling(g: Graph, node: Node) -> str:
    """MaxRoiPool."""
    layer: Any = node.layer
    rois = node.bottoms[1]
    regions = g.bottom(node, 1)
    regions = regions if rois.ndim == 2 else g.reshape(regions, [-1, 5])
    return g.op(
        "MaxRoiPool", g.bottom(node), regions, pooled_shape=list(layer.bins), spatial_scale=float(layer.scale)
    )  # fmt: skip


@writes("PriorBox")
def prior_box(g: Graph, node: Node) -> str:
    """A constant: the boxes for the sizes that the net has."""
    layer: Any = node.layer
    boxes = layer.boxes.reshape(-1)
    variance = np.resize(np.array(layer.variance), boxes.size)
    return g.constant(np.stack([boxes, variance])[None], "boxes")
