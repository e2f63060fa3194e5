"""Parameters that nothing learns (lr_mult: 0): they have no gradient, as in Caffe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dragon.memory.blob import Blob

if TYPE_CHECKING:
    from dragon.graph.net import Net
    from dragon.graph.node import Node

__all__ = ["clear", "frozen_blobs"]


def frozen_blobs(net: Net, node: Node) -> list[Blob]:
    """The layer's learned blobs that the solver leaves alone; a layer's array code computes their gradients too."""
    frozen = {id(param.blob.diff_storage) for param in net.learnable if param.lr_mult == 0}
    layer = node.layer
    flags = zip(layer.blobs, layer.param_propagate_down, strict=False)
    return [blob for blob, learned in flags if not learned and id(blob.diff_storage) in frozen]


def clear(blobs: Sequence[Blob]) -> None:
    """Set their diffs to zero."""
    for blob in blobs:
        blob.diff_storage.overwrite()[...] = 0
