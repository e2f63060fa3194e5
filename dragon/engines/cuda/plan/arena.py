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
        twins = lifetimes.twins(own)
        inside = {**{storage: storage for storage in placement.offsets}, **twins}
        self.size, self.unshared_size = placement.size, lifetimes.apart(own)
        copies = {s: self.copy_of(s) for s in shared}
        for storage in inside:
            copies[storage].array = None
        self._forget_graphs()
        arena = self._allocate(lifetimes, placement, inside)
        for storage, place in inside.items():
            dtype, offset = self._arrays.types.of(storage), placement.offsets[place]
            size = storage.count * dtype.itemsize
            copies[storage].array = arena[offset : offset + size].view(dtype)
            copies[storage].layout = self._arrays.layouts.of(storage)
        for storage in shared - inside.keys():
            if copies[storage].array is None or copies[storage].is_in_arena:
                copies[storage].array = self._gpu.empty(storage.count, self._arrays.types.of(storage))
                copies[storage].layout = self._arrays.layouts.of(storage)
        for storage, copy in copies.items():
            copy.shares, copy.is_twin = storage in placement.offsets, storage in twins
        return frozenset(s for s in shared if s not in inside or inside[s] in placement.survivors)

    def _allocate(
        self, lifetimes: BlobLifetimes, placement: Placement[Storage], inside: Iterable[Storage]
    ) -> Any:  # fmt: skip
        gpu = self._gpu
        gpu.cupy.get_default_memory_pool().free_all_blocks()  # memory that CuPy holds for reuse
        try:
            return gpu.empty(self.size, "uint8")
        except MemoryError as error:
            for storage in inside:
                storage.wrote(HOST)
                storage.detach(gpu.place)
            first = lifetimes.groups[lifetimes.most_at(placement.lifetimes.values())].first
            raise out_of_memory(gpu, self._net.nodes[first].layer.where, error) from None

    def take_out(self, storage: Storage) -> None:
        """Give a storage memory of its own, without its value."""
        copy = self.copy_of(storage)
        copy.array = self._gpu.empty(storage.count, self._arrays.types.of(storage))
        copy.shares = copy.is_twin = False

    def separate(self, storages: Iterable[Storage]) -> None:
        """Give storages memory of their own with the value that they have in the arena."""
        self._forget_graphs()
        for storage in storages:
            copy = storage.copy_at(self._gpu.place)
            if isinstance(copy, DeviceCopy) and copy.is_in_arena:
                copy.array, copy.shares, copy.is_twin = copy.array.copy(), False, False

    def close(self) -> None:
        """Note that no storage shares any more."""
        self.size = self.unshared_size = 0
