"""Recomputing: groups of a pass repeated on the values that the pass read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dragon.engines.cuda.device.copies import DeviceCopy
from dragon.engines.cuda.device.gpu import Gpu
from dragon.engines.cuda.plan.arrays import Arrays
from dragon.engines.cuda.plan.lifetimes import BlobLifetimes
from dragon.engines.cuda.plan.running import GroupRunner
from dragon.engines.lifetimes.sources import Sources
from dragon.memory.storage import HOST, Storage

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["Recomputing"]


class Recomputing:
    """Repeats groups of the last pass.

    Statistics, gradients of parameters, random streams and values on the host stay as they are.
    """

    def __init__(self, net: Net, gpu: Gpu, arrays: Arrays, runner: GroupRunner) -> None:
        self._net = net
        self._gpu = gpu
        self._arrays = arrays
        self._runner = runner
        self._draws: list[int] = []  # of each layer, before the pass

    def save_draws(self) -> None:
        """Save the state of each layer's random stream; to be called before the pass."""
        self._draws = [node.layer.rng.draws for node in self._net.nodes]

    def run(self, lifetimes: BlobLifetimes, sources: Sources[Any], steps: Sequence[int]) -> None:
        """Repeat groups, by their number in `lifetimes`. sources: what the pass read. The GPU must be active."""
        net, gpu = self._net, self._gpu
        groups = [lifetimes.groups[step] for step in steps]
        layers = [node.layer for group in groups for node in group.nodes]
        statistics = {layer.blobs[j].data_storage for layer in layers for j in layer.buffers if j < len(layer.blobs)}
        changing = set(statistics)
        if steps and steps[-1] >= lifetimes.forwards:
            changing |= {blob.diff_storage for layer in layers for blob in layer.blobs if blob.count}
        saved = [(s, self._arrays.of(s).copy(), s.is_fresh(HOST)) for s in changing]
        draws = [node.layer.rng.draws for node in net.nodes]
        on_host = [s for s in lifetimes.recomputable if s.is_fresh(HOST)]
        try:
            with self._sources_of_pass(sources, statistics):
                for storage in lifetimes.recomputable:
                    storage.wrote(gpu.place)
                for node, number in zip(net.nodes, self._draws, strict=True):
                    node.layer.rng.draws = number
                for step, group in zip(steps, groups, strict=True):
                    if step < lifetimes.forwards:
                        self._runner.forward(group, reshape=False)
                    else:
                        self._runner.backward(group)
        finally:
            for node, number in zip(net.nodes, draws, strict=True):
                node.layer.rng.draws = number
            for storage in on_host:
                storage.wrote(HOST)
            for storage, array, was_host in saved:
                self._arrays.of(storage)[...] = array
                storage.wrote(HOST if was_host else gpu.place)

    @contextmanager
    def _sources_of_pass(self, sources: Sources[Any], statistics: Collection[Storage]) -> Iterator[None]:
        """Within the block, sources that have changed since the pass have the values that it read.

        statistics: those that the groups change, which get copies of these values.
        """
        gpu = self._gpu
        lent: list[tuple[Storage, DeviceCopy, Any, bool]] = []
        for storage, array in sources.changed.items():
            copy = storage.copy_at(gpu.place)
            if isinstance(copy, DeviceCopy) and copy.array.size == array.size:
                lent.append((storage, copy, copy.array, storage.is_fresh(HOST)))
                copy.array = array.copy() if storage in statistics else array
                storage.wrote(gpu.place)
        try:
            yield
        finally:
            for storage, copy, array, was_host in lent:
                copy.array = array
                storage.wrote(HOST if was_host else gpu.place)
