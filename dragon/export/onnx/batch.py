"""Axes whose extent a file leaves open: the batch, and the number of regions that a layer finds."""

from __future__ import annotations

from collections.abc import Callable

from dragon.errors import DragonError, ShapeError, UsageError
from dragon.graph.net import Net
from dragon.layers.proposal import Proposal

__all__ = ["growing_axes", "region_axes", "resize_batch"]


def growing_axes(net: Net) -> dict[int, frozenset[int]]:
    """By the id of each blob, the axes whose extent changes with the batch.

    The batch is the first axis of the first input, and of each input that has the same extent there. Raises ShapeError
    for a net that cannot have batches of another size, or a blob of which several axes change.
    """
    return _axes_that_change(net, resize_batch(net), "dynamic batch")


def resize_batch(net: Net) -> Callable[[int], None]:
    """What makes the batch of a net larger than it is now by a number of items. Raises UsageError without a batch."""
    shapes = {name: net.blobs[name].shape for name in net.inputs}
    if not shapes:
        raise UsageError("dynamic batch: the net has no input")
    if not shapes[net.inputs[0]]:
        raise UsageError(f'dynamic batch: input "{net.inputs[0]}" is a single number, without a first axis')
    batch = shapes[net.inputs[0]][0]

    def resize(more: int) -> None:
        for name, shape in shapes.items():
            if shape[:1] == (batch,):
                net.blobs[name].reshape(batch + more, *shape[1:])

    return resize


def region_axes(net: Net) -> dict[int, frozenset[int]]:
    """By the id of each blob, the axes whose extent is the number of regions that a Proposal finds."""
    layers = [node.layer for node in net.nodes if isinstance(node.layer, Proposal)]
    if not layers:
        return {}

    def resize(more: int) -> None:
        for layer in layers:
            layer.rows += more or -1

    return _axes_that_change(net, resize, "regions")


def _axes_that_change(net: Net, resize: Callable[[int], None], task: str) -> dict[int, frozenset[int]]:
    """By the id of each blob, the axes that are longer after `resize(1)`; `resize(0)` takes that back."""
    before = {id(blob): blob.shape for blob in net.blobs.values()}
    try:
        resize(1)
        net.reshape()
        after = {id(blob): blob.shape for blob in net.blobs.values()}
    except DragonError as error:
        error.task = task
        raise
    finally:
        resize(0)
        net.reshape()
    found = {}
    for name, blob in net.blobs.items():
        old, new = before[id(blob)], after[id(blob)]
        if len(old) != len(new):
            raise ShapeError(f'{task}: blob "{name}" changes from {old} to {new}, to another number of axes')
        axes = frozenset(i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b)
        if len(axes) > 1:
            raise ShapeError(f'{task}: blob "{name}" changes from {old} to {new}, on more than one axis')
        found[id(blob)] = axes
    return found
