"""Captured: work that is captured as a CUDA graph at its second run, and then replayed."""

from __future__ import annotations

import gc
import logging
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from dragon.engines.cuda.device.capture import captured
from dragon.engines.cuda.device.gpu import Gpu
from dragon.errors import first_line
from dragon.memory.changes import Changes
from dragon.memory.storage import Storage, mark_written, notify_watchers_of, stale_among

__all__ = ["WAITING", "Captured", "StorageArrays"]

log = logging.getLogger("dragon")
EAGER_RUNS = 1  # before the run that is captured
WAITING, GRAPH = "not captured yet", "graph"
COLLECT_SECONDS = 1.0  # captures that follow each other faster share a garbage collection


class StorageArrays(Protocol):
    """The arrays of a net's storages on the GPU; see plan/arrays.py."""

    def of(self, storage: Storage) -> Any:
        """The flat array of a storage, up to date."""
        ...

    def refresh_copy(self, storage: Storage, place: str) -> Any:
        """The flat array of a parameter's copy in another type or layout, up to date."""
        ...

    def recording(
        self, touched: dict[int, Storage], written: dict[int, Storage], parameters: dict[str, dict[int, Storage]]
    ) -> AbstractContextManager[None]:
        """Within the block, record the storages that are used and written, and parameters read from copies by place."""
        ...


class Captured(ABC):
    """Work that runs eagerly, or as a graph from its third run on.

    The second run takes its memory from a pool that then belongs to the graph, which is captured after it. Work that
    cannot be captured runs eagerly for good: `state` says why, and so does a warning, once for each reason.
    """

    def __init__(
        self, gpu: Gpu, arrays: StorageArrays, state: str = WAITING, own_watcher: weakref.ref[Any] | None = None
    ) -> None:
        self._own_watcher = own_watcher  # a Watcher that need not hear of what the graph writes
        self._gpu = gpu
        self._arrays = arrays
        self.state = state
        self._runs = 0
        self._graph: Any = None
        self._pool: Any = None
        self._kept: list[Any] = []  # memory that the graph's kernels point to, beside `_places`
        self._places: dict[tuple[str, Storage], Any] = {}  # the arrays of storages that they point to
        self._touched: dict[int, Storage] = {}
        self._written: dict[int, Storage] = {}
        self._parameters: dict[str, dict[int, Storage]] = {}  # read from copies, by place
        self._changes = Changes()  # of the storages that are used, since the last replay

    @abstractmethod
    def _eager(self) -> int | None:
        """Do the work. Returns None, or the layer to resume at if shapes changed in the middle."""

    @abstractmethod
    def _record(self) -> None:
        """Do the work for the capture, without the host's part."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What is captured, for messages."""

    @abstractmethod
    def _prepare(self) -> None:
        """Do the host's part, before a replay."""

    @property
    def pool_bytes(self) -> int:
        """Device memory that only this graph uses."""
        return 0 if self._pool is None else int(self._pool.total_bytes())

    @property
    def is_eager(self) -> bool:
        """Whether a capture has failed, or is known to be impossible."""
        return self.state not in (WAITING, GRAPH)

    def launch_graph(self) -> bool:
        """Launch the graph alone, to time it. Returns False if there is none."""
        if self._graph is None:
            return False
        self._graph.launch(self._gpu.stream)
        return True

    def run(self) -> int | None:
        """Do the work. Returns None, or the layer to resume at, with a new plan, if shapes changed in the middle."""
        self._runs += 1
        if self._graph is not None and self._have_moved():
            self._start_again()
        if self._graph is not None:
            self._replay()
            return None
        if self.is_eager or self._runs <= EAGER_RUNS:
            return self._eager()
        return self._capture()

    def _capture(self) -> int | None:
        arrays, gpu = self._arrays, self._gpu
        cuda = gpu.cupy.cuda
        _free_unused(gpu)
        self._pool = cuda.MemoryPool()
        with arrays.recording(self._touched, self._written, self._parameters), cuda.using_allocator(self._pool.malloc):
            rest = self._eager()
            if rest is not None:
                return rest
            try:
                self._graph = captured(gpu, self._record)
            except Exception as error:  # of any kind: CuPy's, CUDA's, NVIDIA's libraries', the engine's own
                self._give_up(first_line(error))
                return None
        self.state = GRAPH
        self._places = {(gpu.place, s): arrays.of(s) for s in self._touched.values()}
        for place, storages in self._parameters.items():
            self._places.update({(place, s): arrays.refresh_copy(s, place) for s in storages.values()})
        self._kept.append(gpu.workspace(1, "float32"))
        for storage in self._touched.values():
            self._changes.follow(storage)
        return None

    def _have_moved(self) -> bool:
        """Whether a changed storage has another array than the graph's kernels point to."""
        for storage in self._changes:
            for place in (self._gpu.place, *self._parameters):
                expected: Any = self._places.get((place, storage))
                copy: Any = storage.copy_at(place)
                if expected is not None and (copy is None or copy.array is not expected):
                    return True
        return False

    def _start_again(self) -> None:
        """Forget the graph: this run is the one before the next capture."""
        self.state, self._runs = WAITING, EAGER_RUNS
        self._graph = self._pool = None
        self._kept, self._places, self._changes = [], {}, Changes()
        for record in (self._touched, self._written, self._parameters):
            record.clear()

    def _give_up(self, reason: str) -> None:
        self.state = f"eager: {reason}"
        self._graph = self._pool = None
        message = f"{self.name} is not replayed as a CUDA graph: {reason}"
        known = _warned.setdefault(self._gpu, set())
        if message not in known:
            known.add(message)
            log.warning("%s", message)

    def _replay(self) -> None:
        self._prepare()
        gpu, changes = self._gpu, list(self._changes)
        if changes:
            self._bring_up_to_date(changes)
        gpu.send_staged()
        self._graph.launch(gpu.stream)
        if changes:
            mark_written([s for s in changes if id(s) in self._written], gpu.place)
            self._mark_newest(changes)
            self._changes.looked_at(changes)

    def _bring_up_to_date(self, changes: Sequence[Storage]) -> None:
        """Send changed storages to the GPU. All others are as the last replay left them."""
        arrays = self._arrays
        for storage in changes:
            arrays.of(storage)  # recomputed if it was overwritten
        for place, storages in self._parameters.items():
            for storage in stale_among([s for s in changes if id(s) in storages], place):
                arrays.refresh_copy(storage, place)
        notify_watchers_of([s for s in changes if id(s) in self._written], self._own_watcher)

    def _mark_newest(self, changes: Sequence[Storage]) -> None:
        """After a launch: mark what else the graph has made, among changed storages."""


_warned: weakref.WeakKeyDictionary[Gpu, set[str]] = weakref.WeakKeyDictionary()
_collected: weakref.WeakKeyDictionary[Gpu, float] = weakref.WeakKeyDictionary()  # when


def _free_unused(gpu: Gpu) -> None:
    """Give memory that nothing uses back to the GPU, so that the pool of a graph can have it.

    The first run has filled CuPy's common pool with blocks that only eager runs of other nets would use again.
    """
    now = time.monotonic()
    if now - _collected.get(gpu, -COLLECT_SECONDS) >= COLLECT_SECONDS:
        gc.collect()  # arrays in reference cycles
        _collected[gpu] = now
    gpu.free_pool()
