"""Segments: parts of a net that are captured once as a CUDA graph and then replayed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from dragon.engines.cuda.plan import CAPTURABLE, Group
from dragon.storage import Storage

if TYPE_CHECKING:
    from dragon.engines.cuda.executor import CudaExecutor

__all__ = ["Segment"]

log = logging.getLogger("dragon")
EAGER_RUNS = 1  # before the run whose memory the graph will use


class Segment:
    """Consecutive groups in one direction.

    The first run is as any; the second takes its work memory from a pool that is then the graph's alone, and the
    graph is captured after it. A segment that cannot be captured runs eagerly for good, and `state` says why.
    """

    def __init__(self, executor: CudaExecutor, way: str, groups: list[Group]) -> None:
        self._executor = executor
        self._way = way
        self.groups = groups
        self.state = "not captured yet" if self._is_capturable(groups[0]) else f"eager: {groups[0].kind}"
        self._runs = 0
        self._graph: Any = None
        self._pool: Any = None
        self._kept: list[Any] = []  # what the graph's kernels point to
        self._touched: dict[int, Storage] = {}
        self._written: dict[int, Storage] = {}

    def _is_capturable(self, group: Group) -> bool:
        if group.on_host:
            return False
        if group.lowering is None:
            return self._executor.net.layers[group.first].type in CAPTURABLE
        return True

    def takes(self, group: Group) -> bool:
        """Whether `group` may join this segment."""
        return self._is_capturable(self.groups[0]) and self._is_capturable(group)

    @property
    def pool_bytes(self) -> int:
        """Device memory that only this graph uses."""
        return 0 if self._pool is None else int(self._pool.total_bytes())

    def run(self) -> int | None:
        """None, or the layer to go on with if one changed its tops' shapes: what follows has to be planned anew."""
        self._runs += 1
        if self._graph is not None:
            self._replay()
            return None
        if self.state != "not captured yet" or self._runs <= EAGER_RUNS:
            return self._eager()
        return self._capture()

    def _eager(self) -> int | None:
        executor = self._executor
        version = executor.net.context.where.version
        for group in self.groups:
            if self._way == "forward":
                executor.run_group(group)
            else:
                executor.run_group_backward(group)
            if executor.net.context.where.version != version:
                return group.last + 1
        return None

    def _capture(self) -> int | None:
        executor, gpu = self._executor, self._executor.gpu
        cuda = gpu.cupy.cuda
        self._pool = cuda.MemoryPool()
        executor.touched, executor.written = self._touched, self._written
        try:
            with cuda.using_allocator(self._pool.malloc):
                rest = self._eager()
                if rest is not None:
                    return rest
                stream = gpu.stream
                stream.begin_capture(cuda.runtime.streamCaptureModeThreadLocal)
                try:
                    self._record()
                except BaseException:
                    try:
                        stream.end_capture()
                    except Exception as error:
                        log.debug("ending a capture that failed: %s", error)
                    raise
                self._graph = stream.end_capture()
        except (RuntimeError, NotImplementedError, TypeError) as error:
            text = str(error).splitlines()[0] if str(error) else type(error).__name__
            self.state = f"eager: {text}"
            self._graph = self._pool = None
        else:
            self.state = "graph"
            self._kept = [executor.array_of(s) for s in self._touched.values()]
            self._kept.append(gpu.workspace(1, "float32"))
        finally:
            executor.touched = executor.written = None
        return None

    def _record(self) -> None:
        for group in self.groups:
            if self._way == "forward":
                self._executor.run_group(group, prepare=False, reshape=False)
            else:
                self._executor.run_group_backward(group)

    def _replay(self) -> None:
        executor = self._executor
        if self._way == "forward":
            for group in self.groups:
                executor.prepare(group)
        for storage in self._touched.values():
            executor.array_of(storage)
        self._graph.launch(executor.gpu.stream)
        place = executor.gpu.place
        for storage in self._written.values():
            storage.wrote(place)
