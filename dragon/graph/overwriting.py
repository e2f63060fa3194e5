"""Layers in place that overwrite what others still need: the top that a backward reads, or memory of another blob."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from dragon.errors import UsageError
from dragon.graph.node import Node
from dragon.memory.blob import Blob

__all__ = ["check_values_last", "warn_overwritten"]

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


def check_values_last(nodes: Sequence[Node], outputs: Sequence[str]) -> None:
    """Raise UsageError if a layer in place changes a learned blob, or another blob that is read later or is an output.

    Tops of a Split, a Flatten or a Reshape share the memory of its bottom, here as in Caffe. Programs whose values
    never change compute something else of such a net.
    """
    for node, blob in _overwritten(nodes, outputs):
        raise UsageError(
            f'changes blob "{blob}" too, which has the same memory and is needed afterwards; give its top another name',
            layer=node.layer.where,
            position=node.position,
        )
    for node, owner in _relearned(nodes):
        raise UsageError(
            f'changes what layer "{owner}" has learned, which has the same memory; give its top another name',
            layer=node.layer.where,
            position=node.position,
        )


def _relearned(nodes: Sequence[Node]) -> Iterator[tuple[Node, str]]:
    """Layers in place on the top of a Parameter, which is its learned blob: each run changes that again."""
    owners = {id(blob.data_storage): node.name for node in nodes for blob in node.layer.blobs}
    for node in nodes:
        for top, name in zip(node.tops, node.top_names, strict=True):
            owner = owners.get(id(top.data_storage))
            if owner and name in node.bottom_names and not node.layer.passes_memory:
                yield node, owner


def _overwritten(nodes: Sequence[Node], outputs: Sequence[str]) -> Iterator[tuple[Node, str]]:
    made: dict[str, Blob] = {}
    for index, node in enumerate(nodes):
        for top, name in zip(node.tops, node.top_names, strict=True):
            if name in node.bottom_names and not node.layer.passes_memory:
                later = {read for other in nodes[index + 1 :] for read in other.bottom_names} | set(outputs)
                for other, blob in made.items():
                    if other != name and other in later and blob.data_storage is top.data_storage:
                        yield node, other
        made |= zip(node.top_names, node.tops, strict=True)


def _spoils(node: Node, below: Node) -> bool:
    """Whether `node`, in place, changes what the backward of `below` reads."""
    if node.layer.passes_memory or node.layer.runs_user_code:
        return False
    layer = below.layer
    if any(top is bottom for top in below.tops for bottom in below.bottoms):
        return layer.reads_top_in_place and not (layer.reads_signs and node.layer.keeps_signs)
    return layer.reads_top
