"""Captured: work that is captured as a CUDA graph at its second run, and then replayed."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Any, Protocol

from dragon.engines.cuda.device.device import Gpu
from dragon.memory.storage import Storage

__all__ = ["WAITING", "Captured", "StorageArrays"]

log = logging.getLogger("dragon")
EAGER_RUNS = 1  # before the run that is captured
WAITING, GRAPH = "not captured yet", "graph"


class StorageArrays(Protocol):
    """The arrays of a net's storages on the GPU; see plan/arrays.py."""

    def of(self, storage: Storage) -> Any:
        """The flat array of a storage, up to date."""
        ...

    def working(self, storage: Storage) -> Any:
        """The flat 16-bit array of a parameter, up to date."""
        ...

    def recording(
        self, touched: dict[int, Storage], written: dict[int, Storage], working: dict[int, Storage]
    ) -> AbstractContextManager[None]:
        """Within the block, record the storages that are used and written, and parameters read in 16 bits."""
        ...


class Captured(ABC):
    """Work that runs eagerly, or as a graph from its third run on.

    The second run takes its memory from a pool that then belongs to the graph, which is captured after it. Work that
    cannot be captured runs eagerly for good, and `state` says why.
    """

    def __init__(self, gpu: Gpu, arrays: StorageArrays, state: str = WAITING) -> None:
        self._gpu = gpu
        self._arrays = arrays
        self.state = state
        self._runs = 0
        self._graph: Any = None
        self._pool: Any = None
        self._kept: list[Any] = []  # arrays that the graph's kernels point to
        self._touched: dict[int, Storage] = {}
        self._written: dict[int, Storage] = {}
        self._working: dict[int, Storage] = {}

    @abstractmethod
    def _eager(self) -> int | None:
        """Do the work. Returns None, or the layer to resume at if shapes changed in the middle."""

    @abstractmethod
    def _record(self) -> None:
        """Do the work for the capture, without the host's part."""

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
        with arrays.recording(self._touched, self._written, self._working):
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
