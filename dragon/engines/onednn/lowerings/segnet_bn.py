"""SegNet's BN: by the batch, or as a fixed scale and shift, with the same primitive as any other BN."""

from __future__ import annotations

from dragon.engines.onednn.lowerings import lowers
from dragon.engines.onednn.lowerings.normalization import normalize
from dragon.engines.onednn.plan.builder import Backward, Builder, NotLoweredError
from dragon.graph.node import Node

__all__ = ["segnet_bn"]


@lowers("SegNetBN")
def segnet_bn(b: Builder, node: Node) -> Backward | None:
    """Build SegNet's BN with one top."""
    if len(node.tops) > 1:
        raise NotLoweredError("tops for the batch's statistics")
    return normalize(b, node)
