"""Batches: a fixed, seeded choice of a net's data, read by data layers of its own.

Image i is image i of the order that the data layers give under the seed, shuffled where they can be; crops, mirrors and
the like are drawn under the seed too. So batch k is the same in every run, on every engine, and after a resume.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np

from dragon.bases.layer import Layer
from dragon.bases.source import Prefetched
from dragon.counting import how_many
from dragon.errors import UsageError
from dragon.files.layer_files import layer_files
from dragon.graph.net import Net
from dragon.memory.blob import checked_count
from dragon.memory.storage import Array
from dragon.probes.probe_net import Batch, is_data, private_definition
from dragon.proto import dragon_pb2 as pb

__all__ = ["Batches", "shuffled"]

_CACHE_BYTES = 256 * 2**20


def shuffled(layer: Layer) -> pb.LayerParameter:
    """The definition of a data layer, set to an order that its seed decides if it has one."""
    param = pb.LayerParameter()
    param.CopyFrom(layer.param)
    for name in layer.settings:
        message: Any = getattr(param, name)
        if "shuffle" in message.DESCRIPTOR.fields_by_name:
            message.shuffle = True
    return param


class Batches:
    """Batches of the data layers of `source`."""

    def __init__(self, source: Net, seed: int) -> None:
        self._names = [name for node in source.nodes if is_data(node.layer) for name in node.top_names]
        given = [node.layer for node in source.nodes if node.layer.takes_arrays]
        if not self._names or given:
            what = f'layer "{given[0].name}" takes what a program gives it' if given else "it has none"
            empty = not given or given[0].is_input
            need = f', and net "{source.name}" is without' if empty else " that read by themselves"
            raise UsageError(
                f"probes need data layers{need}: {what}; give the net that is trained, with its database or files"
            )
        changed = {node.index: shuffled(node.layer) if is_data(node.layer) else None for node in source.nodes}
        with layer_files(False):
            self._net = Net(
                private_definition(source, changed),
                phase=source.phase,
                engine="numpy",
                dtype=source.context.dtype,
                seed=seed,
                allow_python=source.context.allow_python,
            )
        self.size = _common_extent(self._net, self._names)
        self._starts: list[list[tuple[int, dict[str, Any]]]] = [self._where()]  # for each batch, where it begins
        self._kept: OrderedDict[int, dict[str, Array]] = OrderedDict()

    def batch(self, index: int, size: int = 0) -> Batch:
        """Batch number `index`, of `size` images; 0: of as many as the net takes.

        Raises UsageError for a size where the tops of the data layers differ in their first axis, ShapeError for one
        that memory cannot hold.
        """
        if not size or size == self.size:
            return Batch(self._own(index), index)
        if not self.size:
            raise UsageError("a batch_size of its own needs data layers whose tops have one common first axis")
        for name in self._names:
            checked_count((size, *self._net.blobs[name].shape[1:]), f'{how_many(size, "image")} of "{name}"')
        first, last = index * size, (index + 1) * size
        parts = []
        for k in range(first // self.size, -(-last // self.size)):
            rows = slice(max(0, first - k * self.size), min(self.size, last - k * self.size))
            parts.append({name: array[rows] for name, array in self._own(k).items()})
        return Batch({name: np.concatenate([part[name] for part in parts]) for name in self._names}, index)

    def limits(self, name: str) -> tuple[Array, Array] | None:
        """The smallest and the largest values that a top of a data layer can have; None if they are not known."""
        for node in self._net.nodes:
            if node.top_names[:1] == [name] and isinstance(node.layer, Prefetched):
                return node.layer.limits()
        return None

    def _own(self, index: int) -> dict[str, Array]:
        """Batch number `index` of the size that the data layers have."""
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        while len(self._starts) <= index:
            self._go(len(self._starts) - 1)
            self._net.run_forward()
            self._starts.append(self._where())
        self._go(index)
        self._net.run_forward()
        if len(self._starts) == index + 1:
            self._starts.append(self._where())
        found = {name: self._net.blobs[name].peek().copy() for name in self._names}
        self._kept[index] = found
        while (
            len(self._kept) > 1 and sum(a.nbytes for kept in self._kept.values() for a in kept.values()) > _CACHE_BYTES
        ):
            self._kept.popitem(last=False)
        return found

    def _where(self) -> list[tuple[int, dict[str, Any]]]:
        return [(layer.rng.draws, layer.state()) for layer in self._net.layers]

    def _go(self, index: int) -> None:
        for layer, (draws, state) in zip(self._net.layers, self._starts[index], strict=True):
            layer.rng.draws = draws
            if state and state != layer.state():
                layer.load_state(state)

    def close(self) -> None:
        """Stop the threads that read."""
        self._net.close()


def _common_extent(net: Net, names: list[str]) -> int:
    """The first axis that all data has; 0 if there is none."""
    extents = {net.blobs[name].shape[0] if net.blobs[name].shape else 0 for name in names}
    return extents.pop() if len(extents) == 1 else 0
