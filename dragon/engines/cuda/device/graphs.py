"""Work that is captured once as a CUDA graph and then replayed."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Any, Protocol

from dragon.engines.cuda.device.device import Gpu
from dragon.memory.storage import Storage

__all__ = ["WAITING", "Captured", "StorageArrays"]

log = logging.getLogger("dragon")
EAGER_RUNS = 1  # before the run whose memory the graph will use
WAITING, GRAPH = "not captured yet", "graph"


class StorageArrays(Protocol):
    """The arrays of a net's storages on the GPU; see plan/arrays.py."""

    def of(self, storage: Storage) -> Any: ...

    def working(self, storage: Storage) -> Any: ...

    def noted(
        self, touched: dict[int, Storage], written: dict[int, Storage], working: dict[int, Storage]
    ) -> AbstractContextManager[None]: ...


class Captured(ABC):
    """The first run is as any; the second takes its work memory from a pool that is then the graph's alone, and the
    graph is captured after it. What cannot be captured runs eagerly for good, and `state` says why.
    """

    def __init__(self, gpu: Gpu, arrays: StorageArrays, state: str = WAITING) -> None:
        self._gpu = gpu
        self._arrays = arrays
        self.state = state
        self._runs = 0
        self._graph: Any = None
        self._pool: Any = None
        self._kept: list[Any] = []  # what the graph's kernels point to
        self._touched: dict[int, Storage] = {}
        self._written: dict[int, Storage] = {}
        self._working: dict[int, Storage] = {}

    @abstractmethod
    def _eager(self) -> int | None:
        """Do the work. None, or the layer to go on with if shapes changed on the way."""

    @abstractmethod
    def _record(self) -> None:
        """The work once more, for the graph: without what the host has to do."""

    @abstractmethod
    def _prepare(self) -> None:
        """What the host has to do before a replay."""

    @property
    def pool_bytes(self) -> int:
        """Device memory that only this graph uses."""
        return 0 if self._pool is None else int(self._pool.total_bytes())

    @property
    def is_eager(self) -> bool:
        """Whether it was tried, or known before, that this cannot be a graph."""
        return self.state not in (WAITING, GRAPH)

    def launch_graph(self) -> bool:
        """The graph alone, as it lies there, for who times it; False if there is none."""
        if self._graph is None:
            return False
        self._graph.launch(self._gpu.stream)
        return True

    def run(self) -> int | None:
        """None, or the layer to go on with if one changed its tops' shapes: what follows has to be planned anew."""
        self._runs += 1
        if self._graph is not None:
            self._replay()
            return None
        if self.is_eager or self._runs <= EAGER_RUNS:
            return self._eager()
        return self._capture()

    def _capture(self) -> int | None:
        arrays, gpu = self._arrays, self._gpu
        cuda = gpu.cupy.cuda
        self._pool = cuda.MemoryPool()
        with arrays.noted(self._touched, self._written, self._working):
            try:
                with cuda.using_allocator(self._pool.malloc):
                    rest = self._eager()
                    if rest is not None:
                        return rest
                    self._graph = self._captured(gpu.stream, cuda.runtime.streamCaptureModeThreadLocal)
            except (RuntimeError, NotImplementedError, TypeError) as error:
                text = str(error).splitlines()[0] if str(error) else type(error).__name__
                self.state = f"eager: {text}"
                self._graph = self._pool = None
            else:
                self.state = GRAPH
        if self._graph is not None:
            self._kept = [arrays.of(s) for s in self._touched.values()]
            self._kept += [arrays.working(s) for s in self._working.values()]
            self._kept.append(gpu.workspace(1, "float32"))
        return None

    def _captured(self, stream: Any, mode: int) -> Any:
        stream.begin_capture(mode)
        try:
            self._record()
        except BaseException:
            try:
                stream.end_capture()
            except Exception as error:
                log.debug("ending a capture that failed: %s", error)
            raise
        return stream.end_capture()

    def _replay(self) -> None:
        self._prepare()
        arrays, gpu = self._arrays, self._gpu
        for storage in self._touched.values():
            arrays.of(storage)
        for storage in self._working.values():
            arrays.working(storage)
        for storage in self._written.values():
            storage.notify_watchers()
        self._graph.launch(gpu.stream)
        for storage in self._written.values():
            storage.wrote(gpu.place)
