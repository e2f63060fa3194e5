"""Streams, events and graphs of the stand-in.

Kernels run at once. Asynchronous copies run as late as they may: when the next work on their stream runs, when a stream
that waits for them goes on, or when the host waits. `delayed` delays all other work instead, and runs copies early. So
a missing wait, or pinned memory that is changed or freed too early, changes a result or is an error.
"""

from __future__ import annotations

import collections
import contextlib
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

counts: collections.Counter[str] = collections.Counter()
THREAD_LOCAL, RELAXED = 1, 2  # cudaStreamCaptureMode
UNSUPPORTED = "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing"
CAPTURED = "cudaErrorCapturedEvent: operation not permitted on an event last recorded in a capturing stream"
INVALIDATED = "cudaErrorStreamCaptureInvalidated: operation failed due to a previous error during capture"


class CUDARuntimeError(RuntimeError):
    pass


class CopyNode:
    """An asynchronous copy: it may run later than the call that asked for it."""

    def __init__(self, action: Callable[[], None]) -> None:
        self.action = action

    def __call__(self) -> None:
        self.action()


Node = Callable[[], None]
Memories = Sequence[tuple[int, int, weakref.ref[Any]]]


class Graph:
    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes

    def launch(self, stream: Stream | None = None) -> None:
        counts["graph launches"] += 1
        stream = stream or Stream.current
        for node in self.nodes:
            stream.add(node)
        stream.launched = stream.added


class Stream:
    current: Stream
    delayed = False  # whether work other than copies waits until the host does
    _all: ClassVar[weakref.WeakValueDictionary[int, Stream]] = weakref.WeakValueDictionary()

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False) -> None:
        self.ptr = id(self) if not null else 0
        self.recording: list[Node] | None = None
        self.capture = 0  # number of the last capture on this stream
        self.mode: int | None = None
        self._is_invalid = False
        self._outer: list[Stream] = []
        self._queue: collections.deque[Node] = collections.deque()
        self.added = self.done = 0  # operations
        self.waited: dict[int, int] = {}  # for how many operations of other streams, by their pointers
        self.seen = 0  # operations whose end the host has waited for
        self.uses: dict[tuple[int, int], tuple[int, weakref.ref[Any]]] = {}  # last operation on memory, and its owner
        self.launched = 0  # the last operation that may use any memory
        self._all[self.ptr] = self

    @classmethod
    def at(cls, ptr: int) -> Stream:
        return cls._all[ptr]

    def __enter__(self) -> Stream:
        self._outer.append(Stream.current)
        Stream.current = self
        return self

    def __exit__(self, *_: object) -> None:
        Stream.current = self._outer.pop()

    def use(self) -> Stream:
        Stream.current = self
        return self

    # -- work -------------------------------------------------------------------------------------------------
    def add(self, node: Node) -> None:
        """Record it while the stream is captured, else put it in the queue, which runs now or later."""
        if self.recording is not None:
            self.recording.append(node)
            return
        is_copy, is_first = isinstance(node, CopyNode), not self._queue
        self._queue.append(node)
        self.added += 1
        if not isinstance(node, _Wait) and (is_copy and is_first if Stream.delayed else not is_copy):
            self.drain()

    def drain(self, until: int | None = None) -> None:
        """Run what is in the queue, in order; `until`: only the first operations up to this number."""
        while self._queue and (until is None or self.done < until):
            node = self._queue.popleft()
            self.done += 1
            node()

    def synchronize(self) -> None:
        if self.recording is not None:
            self._is_invalid = True
        refuse_in_capture()
        self.drain()
        self.seen = self.added

    def wait_event(self, event: Event) -> None:
        event.check_recorded("a stream waits for")
        assert event.stream is not None
        if self.recording is not None:
            if event.capture != (self, self.capture):
                self._is_invalid = True
                raise CUDARuntimeError(
                    "cudaErrorStreamCaptureIsolation: dependency created on uncaptured work in another stream"
                )
            return
        if event.capture is not None:
            raise CUDARuntimeError(CAPTURED)
        self.waited[event.stream.ptr] = max(self.waited.get(event.stream.ptr, 0), event.position)
        self.add(_Wait(event.stream, event.position))

    # -- capture ----------------------------------------------------------------------------------------------
    def begin_capture(self, mode: int | None = None) -> None:
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        self.drain()
        self.recording, self._is_invalid = [], False
        self.capture += 1
        self.mode = RELAXED if mode is None else mode

    def end_capture(self) -> Graph:
        assert self.recording is not None
        nodes, self.recording = self.recording, None
        if self._is_invalid:
            raise CUDARuntimeError(INVALIDATED)
        return Graph(nodes)

    def invalidate(self) -> None:
        """What the capture has met ends it: `end_capture` raises."""
        self._is_invalid = True

    def is_capturing(self) -> bool:
        return self.recording is not None


class _Wait:
    """A stream goes on when another has done its first `position` operations."""

    def __init__(self, stream: Stream, position: int) -> None:
        self._stream, self._position = stream, position

    def __call__(self) -> None:
        self._stream.drain(self._position)


Stream.current = Stream(null=True)
_default = Stream.current


class Event:
    """Stricter than CUDA, where waiting for an event that was never recorded does nothing: it is an error here."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        self.at: float | None = None
        self.is_timed = not disable_timing
        self.stream: Stream | None = None
        self.position = 0
        self.capture: tuple[Stream, int] | None = None  # in which it was last recorded

    def record(self, stream: Stream | None = None) -> None:
        stream = stream or Stream.current
        self.at = time.perf_counter()
        self.stream, self.position = stream, stream.added
        self.capture = None if stream.recording is None else (stream, stream.capture)

    def check_recorded(self, what: str) -> None:
        if self.stream is None:
            raise AssertionError(f"{what} an event that was never recorded")

    def synchronize(self) -> None:
        refuse_in_capture()
        self.check_recorded("the host waits for")
        if self.capture is not None:
            raise CUDARuntimeError(CAPTURED)
        assert self.stream is not None
        self.stream.drain(self.position)
        self.stream.seen = max(self.stream.seen, self.position)


def get_elapsed_time(begin: Event, end: Event) -> float:
    """Milliseconds."""
    if begin.at is None or end.at is None or not (begin.is_timed and end.is_timed):
        raise CUDARuntimeError("cudaErrorInvalidResourceHandle: invalid resource handle")
    if begin.capture is not None or end.capture is not None:
        raise CUDARuntimeError(CAPTURED)
    return (end.at - begin.at) * 1e3


# -- what a capture refuses -----------------------------------------------------------------------------------------
def capturing() -> list[Node] | None:
    return Stream.current.recording


def refuse_in_capture() -> None:
    """As CUDA refuses synchronisation, in every mode; the capture cannot be ended well after it."""
    if capturing() is not None:
        Stream.current.invalidate()
        raise CUDARuntimeError(UNSUPPORTED)


def refuse_transfer(way: str) -> None:
    """As CuPy 13 and 14 do, whatever the memory on the host. The capture stays valid."""
    if capturing() is not None:
        raise RuntimeError(f"the current stream is capturing, so {way} transfers are disallowed")


def refuse_library(name: str) -> None:
    """As CuPy does for its own use of NVIDIA's libraries."""
    if capturing() is not None:
        raise NotImplementedError(f"calling {name} API during stream capture is currently unsupported")


def use(stream: Stream, memory: Memories | None) -> None:
    """Note that the next operation on a stream uses memory, (first address, end, owner) each; None: any memory.

    It is an error if another stream may still work on it: only an event, or the host, makes a stream wait for another.
    """
    if stream.recording is not None:
        return
    for other in list(Stream._all.values()):
        safe = max(stream.waited.get(other.ptr, 0), other.seen)
        if other is stream:
            continue
        other.uses = {at: (n, ref) for at, (n, ref) in other.uses.items() if ref() is not None and n > other.seen}
        wanted = [(0, 1 << 64)] if memory is None else [(low, high) for low, high, _ in memory]
        late = [n for (a, b), (n, _) in other.uses.items() for low, high in wanted if low < b and a < high]
        late += [other.launched] if memory is not None and memory and other.launched else []
        if any(n > safe for n in late):
            raise AssertionError("a stream uses memory that another one may still work on: it has to wait for an event")
    if memory is None:
        stream.launched = stream.added + 1
    for low, high, ref in memory or ():
        stream.uses[low, high] = stream.added + 1, ref


def run(action: Node) -> None:
    """Add work to the current stream."""
    Stream.current.add(action)


@contextlib.contextmanager
def delayed() -> Iterator[None]:
    """Within the block, work other than copies runs when the host waits, and copies run before it if they may."""
    Stream.delayed = True
    try:
        yield
    finally:
        Stream.delayed = False


def reset() -> None:
    """Forget what earlier tests left."""
    counts.clear()
    for stream in list(Stream._all.values()):
        stream._queue.clear()
        stream.done = stream.seen = stream.added
    Stream.current = _default


def synchronize_all() -> None:
    """As cudaDeviceSynchronize."""
    refuse_in_capture()
    for stream in list(Stream._all.values()):
        stream.drain()
        stream.seen = stream.added


def query(ptr: int) -> Any:
    """cudaStreamQuery: nothing is left to do."""
    stream = Stream.at(ptr)
    stream.drain()
    stream.seen = stream.added
    return 0
