"""Products in int8 by the layers' own array code, the reference for engines that multiply integers."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from dragon.engines.int8.arithmetic import Array, Range, rounded, rounded_weights
from dragon.memory.blob import Blob

if TYPE_CHECKING:
    from dragon.bases.weighted import Weighted
    from dragon.graph.node import Node

__all__ = ["forward_in_int8"]


def forward_in_int8(node: Node, of: Range) -> None:
    """Run a layer forward on what is left of its bottoms and weights in 8 bits; these themselves stay as they are.

    The sums are float, so they have the rounding errors of float32, which sums of integers do not have.
    """
    layer = cast("Weighted", node.layer)
    if node.is_empty:
        return
    bottoms = [_holding(rounded(bottom.peek(), of)) for bottom in node.bottoms]
    weight = layer.weight
    layer.blobs[0] = _holding(rounded_weights(weight.peek(), layer.output_axis))
    try:
        layer.forward(bottoms, node.tops)
    finally:
        layer.blobs[0] = weight


def _holding(values: Array) -> Blob:
    blob = Blob(values.shape, values.dtype)
    blob.data[...] = values
    return blob
