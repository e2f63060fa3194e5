"""Running forward without a trace, for a backward that needs what forward keeps: blobs and layers are as before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from dragon.bases.layer import Layer
from dragon.graph.node import Node

__all__ = ["carries_state", "restored_layer", "restored_tops", "run_missing"]


def carries_state(layer: Layer) -> bool:
    """Whether a layer that is no source has a state besides its blobs, such as that of an LSTM from batch to batch."""
    return type(layer).state is not Layer.state and not layer.is_source


@contextmanager
def restored_tops(nodes: Iterable[Node]) -> Iterator[None]:
    """Give the tops of these layers their values back afterwards, also behind an error."""
    storages = {id(blob.data_storage): blob.data_storage for node in nodes for blob in node.tops}
    before = [(storage, storage.read().copy()) for storage in storages.values()]
    try:
        yield
    finally:
        for storage, value in before:  # a value that is there already stays where it is; one of other shapes is gone
            if storage.count == value.size and not np.array_equal(storage.read(), value, equal_nan=True):
                storage.overwrite()[...] = value


@contextmanager
def restored_layer(layer: Layer) -> Iterator[None]:
    """Give a layer its random stream, running statistics and state back afterwards, also behind an error."""
    draws = layer.rng.draws
    state = layer.state() if carries_state(layer) else None
    buffers = [layer.blobs[j].data_storage for j in layer.buffers]
    before = [(storage, storage.read().copy()) for storage in buffers]
    try:
        yield
    finally:
        layer.rng.draws = draws
        if state is not None:
            layer.load_state(state)
        for storage, value in before:
            storage.overwrite()[...] = value


def run_missing(nodes: Sequence[Node], layers: range, ran: list[bool], forward: Callable[[int], object]) -> None:
    """Before backward of `layers`: run forward of those that never ran, by their index, for what backward keeps of it.

    Scripts write blobs and diffs and run backward alone, as with Caffe. Layers in Python are left out: they may do
    anything.
    """
    missing = [nodes[i] for i in layers if nodes[i].need_backward and not ran[i]]
    missing = [node for node in missing if not node.layer.is_source and not node.layer.runs_user_code]
    if not missing:
        return
    with restored_tops(nodes):
        for node in missing:
            with restored_layer(node.layer):
                forward(node.index)
