"""Builder: what a lowering uses to turn a layer into steps of a plan.

Forward is built layer by layer in order, backward in reverse. A lowering asks for its bottoms in the layout that its
primitive prefers (conversions become steps of the plan), makes its tops, and prepares calls.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.blob import Blob
from dragon.engines.onednn.constants import Arg, DataType
from dragon.engines.onednn.memory import Device, Memory, MemoryDesc, Shape, aligned_buffer
from dragon.engines.onednn.primitive import Attributes, Call, Primitive, SumPost
from dragon.engines.onednn.sources import Sources
from dragon.engines.onednn.values import HostValue, LazyCopy, Value, as_made, logical, reorder
from dragon.storage import Array, Storage

if TYPE_CHECKING:
    from dragon.net import Net

__all__ = ["Backward", "Builder", "Group", "Materialize", "NotLoweredError", "Steps"]

Step = Callable[[], object]
Backward = Callable[[], None]
Materialize = Callable[[int, int, Storage, Mapping[Storage, Array]], None]
_numbers = itertools.count()


class NotLoweredError(Exception):
    """This layer, with these settings, runs its reference code."""


@dataclass
class Steps:
    """The steps of one group of layers in one direction, and what must be newest before they run."""

    calls: list[Step] = field(default_factory=list)
    needs: dict[int, Value | HostValue] = field(default_factory=dict)
    makes: dict[int, Value | HostValue] = field(default_factory=dict)
    host_reads: list[Value] = field(default_factory=list)  # what reference code takes to the host
    lazy: list[tuple[Storage, str]] = field(default_factory=list)


@dataclass
class Group:
    """Layers that run together: one, or several that were fused."""

    first: int
    last: int
    note: str = ""
    forward: Steps = field(default_factory=Steps)
    backward: Steps = field(default_factory=Steps)
    build_backward: Backward | None = None
    watched: list[Blob] = field(default_factory=list)  # whose data must be those of forward for `backward` to be right


class Builder:
    """State of a compilation. `steps` is where calls go: those of the group and direction being built."""

    def __init__(
        self,
        net: Net,
        device: Device,
        dtype: DataType,
        training: bool,
        cache: bool,
        materialize: Materialize,
    ) -> None:
        self.net = net
        self._materialize = materialize
        self.sources = Sources()
        self.device = device
        self.dtype = dtype
        self.training = training
        self.cache = cache  # whether conversions made for one group may serve another
        self.name = f"onednn{next(_numbers)}"
        self.steps = Steps()
        self.values: list[Value | HostValue] = []
        self.lazies: list[tuple[Storage, str]] = []
        self._now: dict[int, Value | HostValue] = {}  # storage id -> version current at this point
        self._pad = aligned_buffer(0)
        self._padded: list[Call] = []
        self._staged: list[Memory] = []
        self._keep: list[Storage] = []  # ids of storages must stay theirs
        self._derived: list[tuple[Value | HostValue, MemoryDesc]] = []
        self.parts: dict[int, Backward] = {}  # what builds backward of one layer of a fused group by itself
        self._kept: set[int] = set()  # ids of memories
        self.watched: list[Blob] = []  # whose forward data a backward uses without asking for them

    # -- versions -------------------------------------------------------------------------------------------
    def _current(self, storage: Storage, shape: tuple[int, ...]) -> Value | HostValue:
        value = self._now.get(id(storage))
        if value is None:
            value = self._host_value(storage, shape)
        return value

    def _host_value(self, storage: Storage, shape: tuple[int, ...]) -> HostValue:
        value = HostValue(self.device, storage, logical(shape))
        self._set(storage, value)
        return value

    def _set(self, storage: Storage, value: Value | HostValue) -> None:
        self._now[id(storage)] = value
        self._keep.append(storage)
        self.values.append(value)

    def value_of(self, blob: Blob) -> Value | HostValue:
        """The version of the blob's data at this point."""
        return self._current(blob.data_storage, blob.shape)

    def _need(self, value: Value | HostValue) -> None:
        if id(value) not in self.steps.makes:
            self.steps.needs[id(value)] = value

    def left(self, blob: Blob) -> Callable[[], bool]:
        """Whether the blob's data are still those that the steps so far leave in it; to be called between runs."""
        storage = blob.data_storage
        value = self._now.get(id(storage))
        if isinstance(value, HostValue):
            return lambda: value.current
        places = [place for lazy, place in self.lazies if lazy is storage]
        return partial(as_made, storage, value.place if value is not None else places[-1])

    def watch(self, blob: Blob) -> None:
        """Backward of the layer will use the blob's data of forward as they lie in memory of the plan."""
        if self.owns(blob):
            self.watched.append(blob)

    @contextmanager
    def apart(self) -> Iterator[None]:
        """What is built meanwhile takes all it reads from the storages and leaves the plan's other memories alone."""
        before = self._now, self.cache
        self._now, self.cache = {}, False
        try:
            yield
        finally:
            self._now, self.cache = before

    def checkpoint(self) -> Any:
        """What `rollback` needs to forget a lowering that gave up half-way."""
        return dict(self._now), len(self.values), len(self._padded), len(self._derived)

    def rollback(self, mark: Any) -> None:
        now, values, padded, derived = mark
        for value, desc in self._derived[derived:]:
            del value.derived[desc]
        for value in self.values[values:]:
            if isinstance(value, Value):
                value.storage.detach(value.place)
        self._now = now
        del self.values[values:], self._padded[padded:], self._derived[derived:]

    # -- reading --------------------------------------------------------------------------------------------
    def desc(self, blob: Blob) -> MemoryDesc:
        """The layout that a blob's data has now, if its value has the blob's shape; row-major otherwise."""
        value = self._current(blob.data_storage, blob.shape)
        if value.shape == logical(blob.shape):
            return value.memory.desc
        return MemoryDesc.plain(logical(blob.shape), value.memory.desc.dtype)

    def diff_desc(self, blob: Blob) -> MemoryDesc:
        """The same of a blob's diff."""
        value = self._current(blob.diff_storage, blob.shape)
        if value.shape == logical(blob.shape):
            return value.memory.desc
        return MemoryDesc.plain(logical(blob.shape), value.memory.desc.dtype)

    def data(self, blob: Blob, desc: MemoryDesc | None = None) -> Memory:
        """The blob's data in the layout `desc` (as it is if None)."""
        return self._as(self._current(blob.data_storage, blob.shape), logical(blob.shape), desc)

    def diff(self, blob: Blob, desc: MemoryDesc | None = None) -> Memory:
        """The blob's diff in the layout `desc` (as it is if None)."""
        return self._as(self._current(blob.diff_storage, blob.shape), logical(blob.shape), desc)

    def _as(self, value: Value | HostValue, shape: Shape, desc: MemoryDesc | None) -> Memory:
        self._need(value)
        memory = value.memory
        if value.shape != shape:
            memory = self._converted(value, MemoryDesc.plain(value.shape, memory.desc.dtype))
            memory = memory.view(MemoryDesc.plain(shape, memory.desc.dtype))
            if desc is None or desc == memory.desc:
                return memory
            target = Memory(self.device, desc)
            call = reorder(self.device, memory, target)
            self.steps.calls.append(call)
            value.refresh.append(call)
            return target
        return memory if desc is None else self._converted(value, desc)

    def _converted(self, value: Value | HostValue, desc: MemoryDesc) -> Memory:
        if desc == value.memory.desc:
            return value.memory
        if self.cache and desc in value.derived:
            return value.derived[desc]
        target = Memory(self.device, desc)
        call = reorder(self.device, value.memory, target)
        self.steps.calls.append(call)
        if self.cache:
            value.derived[desc] = target
            value.refresh.append(call)
            self._derived.append((value, desc))
        return target

    def kept_source(self, bottom: Blob, *tops: Blob) -> Memory:
        """The bottom's data as it is, in memory that still holds it for backward if a top takes its storage over."""
        memory = self.data(bottom)
        in_place = any(top.data_storage is bottom.data_storage for top in tops)
        if not in_place or not self.training or memory is self._owned(bottom.data_storage, bottom):
            return memory
        kept = Memory(self.device, memory.desc)
        self.steps.calls.append(reorder(self.device, memory, kept))
        return kept

    def source_again(self, bottom: Blob, source: Memory, *tops: Blob) -> Memory:
        """What `kept_source` gave, for backward: what was kept, or the bottom's data as they are by then."""
        in_place = any(top.data_storage is bottom.data_storage for top in tops)
        return source if in_place else self.data(bottom, source.desc)

    def owns(self, blob: Blob) -> bool:
        """Whether the blob's data lies in memory of the plan with the blob's shape, free to be overwritten in place."""
        memory = self._owned(blob.data_storage, blob)
        return memory is not None and id(memory) not in self._kept

    def keep(self, memory: Memory) -> None:
        """Nobody shall overwrite this memory of the plan in place: backward rests on it."""
        self._kept.add(id(memory))

    def owns_diff(self, blob: Blob) -> bool:
        """The same for its diff."""
        return self._owned(blob.diff_storage, blob) is not None

    def _owned(self, storage: Storage, blob: Blob) -> Memory | None:
        value = self._now.get(id(storage))
        return value.memory if isinstance(value, Value) and value.shape == logical(blob.shape) else None

    # -- writing --------------------------------------------------------------------------------------------
    def make(self, blob: Blob, desc: MemoryDesc, memory: Memory | None = None) -> Memory:
        """A new version of the blob's data, in new memory or in `memory` (for in-place work)."""
        return self._make(blob.data_storage, desc, memory)

    def make_diff(self, blob: Blob, desc: MemoryDesc, memory: Memory | None = None) -> Memory:
        """A new version of the blob's diff."""
        return self._make(blob.diff_storage, desc, memory)

    def _make(self, storage: Storage, desc: MemoryDesc, memory: Memory | None) -> Memory:
        memory = memory or Memory(self.device, desc)
        value = Value(self.device, storage, memory, f"{self.name}.{len(self.values)}")
        self._set(storage, value)
        self.steps.makes[id(value)] = value
        return memory

    def copy_data(self, source: Blob, target: Blob) -> None:
        """The target's data becomes the source's."""
        memory = self.data(source)
        self.steps.calls.append(reorder(self.device, memory, self.make(target, memory.desc)))

    def copy_diff(self, source: Blob, target: Blob) -> None:
        """The target's diff becomes the source's."""
        memory = self.diff(source)
        self.steps.calls.append(reorder(self.device, memory, self.make_diff(target, memory.desc)))

    def make_lazy(self, storage: Storage, compute: Callable[[Array], None], *sources: Memory) -> None:
        """The storage's content is not computed in the run; `compute(flat host array)` does it when it is read.

        sources: the memories that `compute` reads.
        """
        place = f"{self.name}.lazy{len(self.lazies)}"
        storage.attach(place, LazyCopy(compute, sources))
        self.lazies.append((storage, place))
        self._keep.append(storage)
        self.steps.lazy.append((storage, place))
        self._now.pop(id(storage), None)  # who wants it in this plan after all gets it on the host

    def make_lazy_by_layers(self, storage: Storage, first: int, last: int) -> None:
        """As `make_lazy`, for what `storage` would hold had layers first..last run one by one.

        To be called when the group of these layers is complete: it has noted what they read.
        """
        read = list(self.steps.needs.values())
        blobs = [(blob, blob.data_storage) for layer in self.net.layers[first : last + 1] for blob in layer.blobs]
        self.sources.add(storage for _, storage in blobs)
        self.sources.add(value.storage for value in read if isinstance(value, HostValue))

        def compute(host: Array) -> None:
            then = {}
            for value in read:
                if isinstance(value, Value):
                    then[value.storage] = np.empty(value.copy.count, value.storage.dtype)
                    value.copy.to_host(then[value.storage])
                else:
                    then[value.storage] = self.sources.then(value.storage)
            for blob, storage_then in blobs:  # which may have been exchanged since
                then[blob.data_storage] = self.sources.then(storage_then)
            self._materialize(first, last, storage, then)
            newest = storage.newest_copy()
            if newest is not None and not isinstance(newest, LazyCopy):
                newest.to_host(host)

        self.make_lazy(storage, compute)

    def make_on_host(self, storage: Storage, shape: tuple[int, ...]) -> HostValue:
        """Reference code writes the storage's host copy."""
        value = self._host_value(storage, shape)
        self.steps.makes[id(value)] = value
        return value

    def read_on_host(self, storage: Storage) -> None:
        """Reference code reads the storage: its newest version must be whole, wherever it is."""
        value = self._now.get(id(storage))
        if value is not None:
            self._need(value)
        if isinstance(value, Value):
            self.steps.host_reads.append(value)

    # -- parameters -----------------------------------------------------------------------------------------
    def weights(self, blob: Blob, desc: MemoryDesc, host: MemoryDesc) -> Memory:
        """A learned blob in the layout `desc`; `host` describes its row-major master in the primitive's axes."""
        storage = blob.data_storage
        value = self._now.get(id(storage))
        if not isinstance(value, HostValue):
            value = self._host_value(storage, (blob.count,))
        self._need(value)
        if desc == host:
            return value.memory.view(host)
        if self.cache and desc in value.derived:
            return value.derived[desc]
        target = Memory(self.device, desc)
        call = reorder(self.device, value.memory.view(host), target)
        self.steps.calls.append(_when_changed([storage], call))
        if self.cache:
            value.derived[desc] = target
            value.refresh.append(call)
            self._derived.append((value, desc))
        return target

    def when_changed(self, blobs: Sequence[Blob], step: Step) -> None:
        """Run `step` at this point whenever somebody may have written the host data of one of `blobs`."""
        self._keep += [blob.data_storage for blob in blobs]
        self.steps.calls.append(_when_changed([blob.data_storage for blob in blobs], step))

    def host_vector(self, blob: Blob) -> Memory:
        """A learned vector (bias, scale, shift) where it is, as float32 of shape (count,)."""
        return self.weights(blob, MemoryDesc.plain((blob.count,)), MemoryDesc.plain((blob.count,)))

    def weight_diff(self, blob: Blob, desc: MemoryDesc, host: MemoryDesc) -> tuple[Memory, Callable[[], None]]:
        """Memory for a parameter's gradient, and what to call after the primitive: it adds it to the blob's diff."""
        fresh = Memory(self.device, desc)
        storage = blob.diff_storage
        value = HostValue(self.device, storage, (blob.count,))
        self.values.append(value)
        self._keep.append(storage)

        def accumulate() -> None:
            self._need(value)
            primitive = Primitive(
                self.device,
                "reorder_primitive_desc_create",
                [desc, self.device.engine, host, self.device.engine],
                [Arg.SRC],
                [Arg.DST],
                prefix=[],
                attributes=Attributes([SumPost()]),
            )
            self.call(primitive, {Arg.SRC: fresh, Arg.DST: value.memory.view(host)})
            self.steps.makes[id(value)] = value

        return fresh, accumulate

    # -- calls ----------------------------------------------------------------------------------------------
    def call(self, primitive: Primitive, memories: Mapping[int, Memory]) -> None:
        """Run a primitive at this point of the plan; scratchpads are one shared buffer."""
        pad = None
        if primitive.scratchpad_desc is not None:
            if primitive.scratchpad > self._pad.nbytes:
                self._pad = aligned_buffer(primitive.scratchpad)
            pad = Memory(self.device, primitive.scratchpad_desc, self._pad)
        call = Call(primitive, memories, pad)
        if pad is not None:
            self._padded.append(call)
        self.steps.calls.append(call)

    @property
    def scratchpad(self) -> int:
        """Bytes of the largest scratchpad."""
        return self._pad.nbytes

    def share_scratchpad(self) -> None:
        """Let all calls use the largest scratchpad; called once when the plan is complete."""
        for call in self._padded:
            call.memories[Arg.SCRATCHPAD].rebind(self._pad)
        stage = aligned_buffer(max((memory.desc.size for memory in self._staged), default=0))
        for memory in self._staged:
            memory.rebind(stage)

    def staging(self, desc: MemoryDesc) -> Memory:
        """Memory whose content matters within one step only: all of these are one buffer."""
        memory = Memory(self.device, desc)
        self._staged.append(memory)
        return memory

    def run(self, step: Step) -> None:
        """Run Python code at this point of the plan."""
        self.steps.calls.append(step)


def _when_changed(storages: Sequence[Storage], step: Step) -> Step:
    """A step that runs `step` unless all storages are as they were when it last did."""
    last: list[int] = []

    def check() -> None:
        now = [storage.epoch for storage in storages]
        if now != last or any(storage.held for storage in storages):
            last[:] = now
            step()

    return check
