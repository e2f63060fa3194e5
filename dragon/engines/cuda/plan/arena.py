"""BlobArena: the array on the GPU in which blobs that are never in use at the same time share memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

from dragon.engines.cuda.device.copies import DeviceCopy
from dragon.engines.cuda.device.device import Gpu
from dragon.engines.cuda.plan.arrays import Arrays
from dragon.engines.cuda.plan.lifetimes import BlobLifetimes
from dragon.engines.cuda.plan.memory import out_of_memory
from dragon.engines.lifetimes.placing import Placement
from dragon.memory.storage import HOST, Storage

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["BlobArena"]


class BlobArena:
    """Gives storages their places in one array, and memory of their own again.

    forget_graphs: called when arrays have moved. size: bytes of the array; unshared_size: of its storages apart.
    """

    def __init__(self, net: Net, gpu: Gpu, arrays: Arrays, forget_graphs: Callable[[], None]) -> None:
        self._net = net
        self._gpu = gpu
        self._arrays = arrays
        self._forget_graphs = forget_graphs
        self.size = self.unshared_size = 0

    def copy_of(self, storage: Storage) -> DeviceCopy:
        """The copy of a storage on the GPU, whose array may have no value, or be None if the copy was just made."""
        gpu = self._gpu
        copy = storage.copy_at(gpu.place)
        if not isinstance(copy, DeviceCopy):
            copy = DeviceCopy(gpu, None, self._arrays.factors_of(storage), self._arrays.layouts.of(storage))
            storage.attach(gpu.place, copy)
        copy.drop_feed()
        return copy

    def place(self, lifetimes: BlobLifetimes, own: Collection[Storage]) -> frozenset[Storage]:
        """Place the recomputable storages, except for the outputs and `own`. Values are lost, except those of `own`.

        Returns the storages that hold their value when the pass is over. EngineError where there is no memory.
        """
        shared = lifetimes.recomputable
        placement = Placement(lifetimes.in_arena(own))
        self.size, self.unshared_size = placement.size, placement.unshared
        copies = {s: self.copy_of(s) for s in shared}
        for storage in placement.offsets:
            copies[storage].array = None
        self._forget_graphs()
        arena = self._allocate(lifetimes, placement)
        for storage, offset in placement.offsets.items():
            dtype = self._arrays.types.of(storage)
            size = storage.count * dtype.itemsize
            copies[storage].array = arena[offset : offset + size].view(dtype)
            copies[storage].layout = self._arrays.layouts.of(storage)
        for storage in shared - placement.offsets.keys():
            if copies[storage].array is None or copies[storage].shares:
                copies[storage].array = self._gpu.empty(storage.count, self._arrays.types.of(storage))
                copies[storage].layout = self._arrays.layouts.of(storage)
        for storage, copy in copies.items():
            copy.shares = storage in placement.offsets
        return placement.survivors | (shared - placement.offsets.keys())

    def _allocate(self, lifetimes: BlobLifetimes, placement: Placement[Storage]) -> Any:
        gpu = self._gpu
        gpu.cupy.get_default_memory_pool().free_all_blocks()  # memory that CuPy holds for reuse
        try:
            return gpu.empty(self.size, "uint8")
        except MemoryError as error:
            for storage in placement.offsets:
                storage.wrote(HOST)
                storage.detach(gpu.place)
            first = lifetimes.groups[lifetimes.most_at(placement.lifetimes.values())].first
            raise out_of_memory(gpu, self._net.nodes[first].layer.where, error) from None

    def take_out(self, storage: Storage) -> None:
        """Give a storage memory of its own, without its value."""
        copy = self.copy_of(storage)
        copy.array, copy.shares = self._gpu.empty(storage.count, self._arrays.types.of(storage)), False

    def separate(self, storages: Iterable[Storage]) -> None:
        """Give storages memory of their own with the value that they have in the arena."""
        self._forget_graphs()
        for storage in storages:
            copy = storage.copy_at(self._gpu.place)
            if isinstance(copy, DeviceCopy) and copy.shares:
                copy.array, copy.shares = copy.array.copy(), False

    def close(self) -> None:
        """Note that no storage shares any more."""
        self.size = self.unshared_size = 0
