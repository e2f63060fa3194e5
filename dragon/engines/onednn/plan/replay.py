"""Repeats forward, layer by layer, when a script asks for a backward in TEST, where nothing is kept for one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dragon.bases.layer import TRAIN
from dragon.engines.onednn.plan.reference import is_free
from dragon.engines.untraced import carries_state, restored_layer, restored_tops
from dragon.memory.storage import Array, Storage

if TYPE_CHECKING:
    from dragon.engines.onednn.plan.plan import Plan
    from dragon.graph.net import Net
    from dragon.graph.node import Node

__all__ = ["Replay", "lend_present_parameters"]


class Replay:
    """Saves, in forward passes outside training, what repeating them layer by layer needs."""

    def __init__(self, net: Net) -> None:
        self.net = net
        # by range of layers: the layers that overwrite an input, with its storages; the layers that may draw numbers
        self._found: dict[tuple[int, int], tuple[list[tuple[int, list[Storage]]], list[Node]]] = {}
        self._inputs: dict[
            int, list[tuple[Storage, Array]]
        ] = {}  # values that layers in place have overwritten, by layer
        self._draws = [0] * len(net.nodes)
        # layers with a state of their own besides blobs, such as that of an LSTM from batch to batch; what it was
        self._carrying = [node for node in net.nodes if carries_state(node.layer)]
        self._carried: dict[int, dict[str, int | float | bytes]] = {}

    def forget_ranges(self) -> None:
        """Look at the layers again from now on: storages or phases may have changed."""
        self._found.clear()

    def save(self, plan: Plan, start: int, end: int) -> int:
        """Save what a replay of layers start..end could not compute again; to be called before they run.

        Where a layer works in place on an input, `plan` first runs the layers before it. Returns the layer to go on
        with.
        """
        found = self._found.get((start, end))
        if found is None:
            drawing = [node for node in self.net.nodes[start : end + 1] if node.layer.phase == TRAIN]
            found = self._found[start, end] = list(_overwritten(self.net, start, end)), drawing
        overwriting, drawing = found
        for node in drawing:
            self._draws[node.index] = node.layer.rng.draws
        for node in self._carrying:
            if start <= node.index <= end:
                self._carried[node.index] = node.layer.state()
        for i in [i for i in self._inputs if start <= i <= end]:
            del self._inputs[i]
        for i, storages in overwriting:
            if i > start:
                plan.forward(start, i - 1)
                start = i
            self._inputs[i] = [(storage, storage.read().copy()) for storage in storages]
        return start

    def run(self, single: Plan, only: Collection[int] | None = None) -> None:
        """Run all layers but sources one by one with `single`; blobs, statistics and random streams are put back.

        only: the indices of the layers to run, if not all.
        """
        nodes = self.net.nodes
        with restored_tops(nodes):
            for i, node in enumerate(nodes[: single.last + 1]):
                layer = node.layer
                if layer.is_source or (only is not None and (i not in only or layer.runs_user_code)):
                    continue
                for storage, value in self._inputs.get(i, ()):
                    storage.overwrite()[...] = value
                with restored_layer(layer):
                    if layer.phase == TRAIN:
                        layer.rng.draws = self._draws[i]
                    if i in self._carried:
                        layer.load_state(self._carried[i])
                    single.forward(i, i)


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
def lend_present_parameters(plans: list[Plan]) -> Iterator[None]:
    """Where parameters were exchanged since forward, put the new ones' values into the memory that `plans` use."""
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
