"""Running forward again for a backward that nobody had planned for: in TEST nothing is kept for one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from dragon.bases.layer import TRAIN
from dragon.engines.onednn.plan.reference import is_free
from dragon.memory.storage import Array, Storage

if TYPE_CHECKING:
    from dragon.engines.onednn.plan.plan import Plan
    from dragon.graph.net import Net
    from dragon.graph.node import Node

__all__ = ["Replay", "parameters_of_now"]


class Replay:
    """What a net's forward passes outside training leave behind so that they can be repeated layer by layer."""

    def __init__(self, net: Net) -> None:
        self.net = net
        # by range of layers: those that overwrite an input, and what; those that may draw
        self._found: dict[tuple[int, int], tuple[list[tuple[int, list[Storage]]], list[Node]]] = {}
        self._inputs: dict[int, list[tuple[Storage, Array]]] = {}  # what layers in place have overwritten
        self._draws = [0] * len(net.nodes)

    def look_again(self) -> None:
        """Storages or phases may be others from now on."""
        self._found.clear()

    def keep(self, plan: Plan, start: int, end: int) -> int:
        """Keep what a replay of layers start..end could not make again; before they run.

        `plan` runs up to the last layer that works in place on such a thing. Returns where to go on.
        """
        found = self._found.get((start, end))
        if found is None:
            drawing = [node for node in self.net.nodes[start : end + 1] if node.layer.phase == TRAIN]
            found = self._found[start, end] = list(_overwritten(self.net, start, end)), drawing
        overwriting, drawing = found
        for node in drawing:
            self._draws[node.index] = node.layer.rng.draws
        for i in [i for i in self._inputs if start <= i <= end]:
            del self._inputs[i]
        for i, storages in overwriting:
            if i > start:
                plan.forward(start, i - 1)
                start = i
            self._inputs[i] = [(storage, storage.read().copy()) for storage in storages]
        return start

    def run(self, single: Plan) -> None:
        """Run all layers but sources one by one with `single`, without leaving traces in blobs, buffers or draws."""
        net = self.net
        storages = {id(blob.data_storage): blob.data_storage for node in net.nodes for blob in node.tops}
        before = [(storage, storage.read().copy()) for storage in storages.values()]
        for i, node in enumerate(net.nodes[: single.last + 1]):
            layer = node.layer
            if layer.is_source:
                continue
            for storage, value in self._inputs.get(i, ()):
                storage.overwrite()[...] = value
            draws = layer.rng.draws
            if layer.phase == TRAIN:
                layer.rng.draws = self._draws[i]
            buffers = [layer.blobs[j].data_storage for j in layer.buffers]
            kept = [(storage, storage.read().copy()) for storage in buffers]
            single.forward(i, i)
            layer.rng.draws = draws
            for storage, value in kept:
                storage.overwrite()[...] = value
        for storage, value in before:  # differs where a script changed what the layers read
            if not np.array_equal(storage.read(), value, equal_nan=True):
                storage.overwrite()[...] = value


def _overwritten(net: Net, start: int, end: int) -> Iterator[tuple[int, list[Storage]]]:
    """Layers of start..end that work in place on what no computing layer of that range has made, and on what."""
    made: set[int] = set()
    for node in net.nodes[start : end + 1]:
        if node.layer.is_source or is_free(node):
            continue
        written = {id(top.data_storage): top.data_storage for top in node.tops}
        read = {id(bottom.data_storage) for bottom in node.bottoms}
        lost = [storage for key, storage in written.items() if key in read - made]
        if lost:
            yield node.index, lost
        made |= written.keys()


@contextmanager
def parameters_of_now(plans: list[Plan]) -> Iterator[None]:
    """Where parameters were exchanged since forward, lend the new ones' values to the memory that `plans` know."""
    lent: dict[int, tuple[Storage, Array]] = {}
    for plan in plans:
        for blob, storage in plan.parameters:
            if blob.data_storage is not storage and id(storage) not in lent:
                lent[id(storage)] = storage, storage.read().copy()
                storage.overwrite()[: blob.count] = blob.data_storage.read()[: blob.count]
    try:
        yield
    finally:
        for storage, value in lent.values():
            storage.overwrite()[...] = value
