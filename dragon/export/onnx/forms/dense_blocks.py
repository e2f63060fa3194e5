"""Blocks of DenseNets."""

from __future__ import annotations

from typing import cast

import numpy as np

from dragon.export.onnx.forms import writes
from dragon.export.onnx.graph import Graph
from dragon.graph.node import Node
from dragon.layers.dense_block import EPS, DenseBlock


@writes("DenseBlock")
def dense_block(g: Graph, node: Node) -> str:
    """BatchNormalization by running statistics, Relu, Conv and Concat for each layer of the block."""
    layer = cast(DenseBlock, node.layer)
    blobs, x = [blob.peek() for blob in layer.blobs], g.bottom(node)
    for i in range(layer.count):
        added = x
        for stage in layer.stages(i):
            mean, variance = layer.averaging.read((blobs[stage.mean], blobs[stage.variance]), blobs[-1])
            named = {"scale": blobs[stage.gamma], "bias": blobs[stage.beta], "mean": mean, "variance": variance}
            constants = [g.constant(value.reshape(-1), what) for what, value in named.items()]
            active = g.op("Relu", g.op("BatchNormalization", added, *constants, epsilon=EPS))
            weight = g.constant(np.ascontiguousarray(blobs[stage.filter][:, :, ::-1, ::-1]), "weight")
            added = g.op("Conv", active, weight, pads=[stage.kernel // 2] * 4)
        x = g.op("Concat", x, added, axis=1)
    return x
