"""Layers in place that overwrite a top which backward of the layer below reads: its gradient is wrong, as in Caffe."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from dragon.graph.node import Node

__all__ = ["warn_overwritten"]

log = logging.getLogger("dragon")


def warn_overwritten(nodes: Sequence[Node]) -> None:
    """Log a warning for each node whose backward reads a top that a later node changes in place."""
    maker: dict[int, Node] = {}  # by the blob's id: the node that computed its present value
    for node in nodes:
        for top in node.tops:
            below = maker.get(id(top))
            in_place = any(top is bottom for bottom in node.bottoms)
            if in_place and below is not None and below.need_backward and _spoils(node, below):
                log.warning(
                    "%s: its backward reads its top, which %s overwrites in place: the gradient is wrong, as in Caffe; "
                    "give the second a top of its own",
                    below.layer.where,
                    node.layer.where,
                )
            if not (in_place and node.layer.passes_memory):
                maker[id(top)] = node


def _spoils(node: Node, below: Node) -> bool:
    """Whether `node`, in place, changes what the backward of `below` reads."""
    if node.layer.passes_memory or node.layer.runs_user_code:
        return False
    layer = below.layer
    if any(top is bottom for top in below.tops for bottom in below.bottoms):
        return layer.reads_top_in_place and not (layer.reads_signs and node.layer.keeps_signs)
    return layer.reads_top
