"""Layers without a lowering in a plan: they run their own array code on host copies."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np

from dragon.engines.base import out_of_memory
from dragon.engines.frozen import clear, frozen_blobs
from dragon.engines.onednn.lowerings.bounds import measure_top
from dragon.engines.onednn.plan.builder import Builder
from dragon.errors import DragonError
from dragon.memory.storage import Array, Storage

if TYPE_CHECKING:
    from dragon.bases.source import Prefetched
    from dragon.engines.onednn.plan.feed import Feed
    from dragon.graph.node import Node
    from dragon.memory.blob import Blob

__all__ = ["ShapesChangedError", "add_backward", "add_forward", "is_free"]

FEW = 1 << 20  # elements of a batch; with more of them the transformation is better left to the reading thread


class ShapesChangedError(Exception):
    """A layer gave its tops other shapes than the plan was made for. It has run; the layers after it have not."""

    def __init__(self, layer: int) -> None:
        super().__init__(layer)
        self.layer = layer


def is_free(node: Node) -> bool:
    """Whether the layer's forward has nothing to compute: its tops are its bottom's memory, or filled by the caller."""
    layer, bottoms = node.layer, node.bottoms
    shared = all(top.data_storage is bottoms[0].data_storage for top in node.tops if bottoms)
    return layer.is_input or (layer.passes_memory and shared)


def _reading(storage: Storage, shape: tuple[int, ...]) -> Array:
    """A view of the host copy that does not count as written: the plan knows what reference code writes."""
    flat = storage.read()
    count = math.prod(shape)
    return (flat if flat.size == count else flat[:count]).reshape(shape)


def add_forward(builder: Builder, node: Node) -> None:
    """Append a step that runs the layer's forward."""
    layer, bottoms, tops = node.layer, node.bottoms, node.tops
    for bottom in bottoms:
        builder.read_on_host(bottom.data_storage)
    forward = partial(layer.forward, bottoms, tops) if not node.is_empty else _nothing
    if layer.reads_ahead and tops[0].count <= FEW:
        forward = _feeding(builder, cast("Prefetched", layer), tops)
    space = layer.context.space
    # a layer written by the user may write anything: its bottoms are fetched again
    watched = [builder.value_of(bottom) for bottom in bottoms] if layer.runs_user_code else []
    made = [builder.make_on_host(top.data_storage, top.shape) for top in tops]

    def step() -> None:
        version = space.version
        space.view = _reading
        try:
            layer.reshape(bottoms, tops)
            forward()
        except DragonError as error:
            error.at(layer.where)
            raise
        except MemoryError as error:
            raise out_of_memory(error, layer.where) from error
        finally:
            space.view = None
        if space.version != version:
            for top in tops:
                top.data_storage.wrote("host")
            raise ShapesChangedError(node.index)
        for value in made:
            value.mark_newest()
        for seen in watched:
            seen.fetch()

    builder.run(step)
    if builder.ahead:
        for top in tops:
            if builder.readers.get(top) and top.data_storage.dtype == np.float32:
                measure_top(builder, top)


def _feeding(builder: Builder, layer: Prefetched, tops: list[Blob]) -> Callable[[], None]:
    """Forward of a layer that gives images as bytes."""
    from dragon.engines.onednn.plan.feed import Feed

    layer.hand_out_bytes()  # a quarter of the memory traffic of images that the reading thread has transformed
    return partial(_feed, Feed(builder.device, layer), layer, tops)


def _feed(feed: Feed, layer: Prefetched, tops: list[Blob]) -> None:
    feed.deliver(layer.take(), tops)


def _nothing() -> None:
    """What a layer without elements computes."""


def add_backward(builder: Builder, node: Node) -> None:
    """Append a step that runs the layer's backward."""
    if node.is_empty:
        return
    layer, bottoms, tops, flags = node.layer, node.bottoms, node.tops, node.propagate_down
    for blob in [*bottoms, *tops]:
        builder.read_on_host(blob.data_storage)
    for top in tops:
        builder.read_on_host(top.diff_storage)
    space = layer.context.space
    made = [
        builder.make_on_host(bottom.diff_storage, bottom.shape)
        for bottom, flag in zip(bottoms, flags, strict=True)
        if flag
    ]

    frozen = frozen_blobs(builder.net, node)

    def step() -> None:
        space.view = _reading
        try:
            layer.backward(tops, flags, bottoms)
        except DragonError as error:
            error.at(layer.where)
            raise
        except MemoryError as error:
            raise out_of_memory(error, layer.where) from error
        finally:
            space.view = None
        for value in made:
            value.mark_newest()
        clear(frozen)

    builder.run(step)
