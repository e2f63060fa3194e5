"""BlobArena: the memory on the GPU that blobs share which are never in use at the same time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dragon.engines.cuda.device.copies import DeviceCopy
from dragon.engines.cuda.device.gpu import Gpu
from dragon.engines.cuda.plan.arrays import Arrays
from dragon.engines.cuda.plan.lifetimes import BlobLifetimes
from dragon.engines.cuda.plan.memory import out_of_memory
from dragon.engines.lifetimes.placing import Placement
from dragon.memory.storage import HOST, Storage, held_among

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["BlobArena", "Places"]


@dataclass(frozen=True)
class Places:
    """Where the storages of one plan's pass lie. own: those outside the arena since somebody has read them.

    survivors: those that hold their value when the pass is over.
    """

    arrays: Mapping[Storage, tuple[DeviceCopy, Any]]
    shared: frozenset[Storage]
    twins: frozenset[Storage]
    own: frozenset[Storage]
    survivors: frozenset[Storage]
    size: int
    unshared_size: int
    memory: Any


class BlobArena:
    """Gives storages their places in one array, and memory of their own again.

    The array grows and never shrinks, so that graphs of passes in several shapes can use it. forget_graphs: called when
    storages of the present pass have moved; forget_others: when those of passes in other shapes have.
    size: bytes that are used of the array; unshared_size: of its storages apart.
    """

    def __init__(
        self, net: Net, gpu: Gpu, arrays: Arrays, forget_graphs: Callable[[], None],
        forget_others: Callable[[], None],
    ) -> None:  # fmt: skip
        self._net = net
        self._gpu = gpu
        self._arrays = arrays
        self._forget_graphs = forget_graphs
        self._forget_others = forget_others
        self._memory: Any = None
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

    def place(self, lifetimes: BlobLifetimes, own: Collection[Storage]) -> Places:
        """Place the recomputable storages, except for the outputs and `own`. Values are lost, except those of `own`.

        EngineError where there is no memory.
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
        arena = self._memory = self._memory_for(lifetimes, placement, inside)
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
        return Places(
            {storage: (copy, copy.array) for storage, copy in copies.items()},
            frozenset(placement.offsets),
            frozenset(twins),
            frozenset(own),
            frozenset(s for s in shared if s not in inside or inside[s] in placement.survivors),
            self.size,
            self.unshared_size,
            arena,
        )

    def put_back(self, places: Places, own: Collection[Storage]) -> bool:
        """Give storages their places of an earlier pass again; values are lost. False where they cannot have them."""
        place = self._gpu.place
        if places.memory is not self._memory or places.own != own:
            return False
        if any(storage.copy_at(place) is not copy for storage, (copy, _) in places.arrays.items()):
            return False
        if held_among(places.shared | places.twins):
            return False
        for storage, (copy, array) in places.arrays.items():
            if copy.array is not array:
                copy.drop_feed()
            copy.array, copy.layout = array, self._arrays.layouts.of(storage)
            copy.shares, copy.is_twin = storage in places.shared, storage in places.twins
        self.size, self.unshared_size = places.size, places.unshared_size
        return True

    def _memory_for(
        self, lifetimes: BlobLifetimes, placement: Placement[Storage], inside: Iterable[Storage]
    ) -> Any:  # fmt: skip
        """The memory of the arena, which is replaced where it is too small."""
        if self._memory is not None and self._memory.nbytes >= self.size:
            return self._memory
        self._memory = None
        self._forget_others()
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
        self._memory = None
        self.size = self.unshared_size = 0
