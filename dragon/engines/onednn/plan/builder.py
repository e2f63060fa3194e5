"""Builder: what a lowering calls to turn a layer into steps of a plan.

Forward is built layer by layer in order, backward in reverse order. A lowering asks for its bottoms in the layout that
its primitive prefers (conversions become steps of the plan), makes its tops, and prepares calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dragon.engines.int8.arithmetic import Range
from dragon.engines.onednn.library.constants import Arg, DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import Attributes, Call, Primitive, SumPost
from dragon.engines.onednn.plan.block_choice import BlockChoice
from dragon.engines.onednn.plan.bound import Bound
from dragon.engines.onednn.plan.guarded import BoundedCall, GuardedCall, bounded_call
from dragon.engines.onednn.plan.places import find_places
from dragon.engines.onednn.plan.recomputed import Materialize, Recomputed
from dragon.engines.onednn.plan.steps import Backward, NotLoweredError, Step, when_changed
from dragon.engines.onednn.plan.values import HostValue, Value, reorder
from dragon.memory.aligned import aligned_bytes
from dragon.memory.blob import Blob
from dragon.memory.storage import Array, Storage

if TYPE_CHECKING:
    from dragon.graph.net import Net
    from dragon.graph.node import Node

__all__ = ["Backward", "Builder", "Materialize", "NotLoweredError"]

C = TypeVar("C", bound=Call)


class Builder(Recomputed):
    """The plan that is being built.

    dtype: the element type of activations. blocks: which convolutions work in blocks of channels, None for none.
    remark: set by a lowering, how it computes a layer. parts: for each layer of a fused group, by index, a function
    that builds its backward by itself. ranges: of what layers read that run in int8, by their names.
    """

    def __init__(
        self,
        net: Net,
        device: Device,
        dtype: DataType,
        training: bool,
        cache: bool,
        winograd: bool,
        materialize: Materialize,
        ranges: Mapping[str, Range],
        sums_in_place: bool,
    ) -> None:
        super().__init__(net, device, training, cache, materialize, sums_in_place and not ranges)
        self.ranges = ranges
        self.readers: dict[Blob, list[Node]] = {}  # the layers that have a blob as bottom
        for node in net.nodes:
            for bottom in node.bottoms:
                self.readers.setdefault(bottom, []).append(node)
        self.dtype = dtype
        # products in int8 want channels last
        in_blocks = self.ahead and dtype == DataType.f32 and not ranges
        self.blocks = BlockChoice(net.nodes, device) if in_blocks else None
        if self.blocks is not None and self.blocks.of(1):
            self.places = find_places(net.nodes, device.block)
        self.winograd = winograd
        self.remark = ""
        self._bound: Bound | None = None  # of the top that is being built
        self.parts: dict[int, Backward] = {}
        self._scratchpad = aligned_bytes(0)
        self._scratchpad_calls: list[Call] = []
        self._scratch: dict[int, list[Memory]] = {}  # by slot
        self._scratch_bytes: dict[int, NDArray[np.uint8]] = {}  # by slot, as large as the largest so far
        self._slots: dict[int, int] = {}  # id of a scratch memory -> slot

    def checkpoint(self) -> Any:
        scratch = {slot: len(memories) for slot, memories in self._scratch.items()}
        return super().checkpoint(), len(self._scratchpad_calls), scratch

    def rollback(self, state: Any) -> None:
        versions, calls, scratch = state
        super().rollback(versions)
        del self._scratchpad_calls[calls:]
        for slot in list(self._scratch):
            for memory in self._scratch[slot][scratch.get(slot, 0) :]:
                del self._slots[id(memory)]
            del self._scratch[slot][scratch.get(slot, 0) :]
            if not self._scratch[slot]:
                del self._scratch[slot]

    # -- values on the host ---------------------------------------------------------------------------------
    def make_on_host(self, storage: Storage, shape: tuple[int, ...]) -> HostValue:
        """A new version of the storage's data in its host copy, which reference code writes."""
        value = self._host_value(storage, shape)
        value.made = True
        self.steps.makes[id(value)] = value
        return value

    def read_on_host(self, storage: Storage) -> None:
        """Reference code reads the storage: its newest version must be complete, wherever it is."""
        value = self._now.get(id(storage))
        if value is not None:
            self._need(value)
        if isinstance(value, Value):
            self.steps.host_reads.append(value)

    # -- parameters -----------------------------------------------------------------------------------------
    def weights(self, blob: Blob, desc: MemoryDesc, host: MemoryDesc) -> Memory:
        """A learned blob in the layout `desc`.

        host: describes the row-major float32 master under the primitive's axes.
        """
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
        self._run_when_changed([storage], call)
        if self.cache:
            value.derived[desc] = target
            value.refresh.append(call)
            self._derived.append((value, desc))
        return target

    def when_changed(self, blobs: Sequence[Blob], step: Step) -> None:
        """Run `step` in each pass before which the host data of one of `blobs` may have changed.

        At this point of the pass, or before it begins where plans compute parameters `ahead`.
        """
        self._alive += [blob.data_storage for blob in blobs]
        self._run_when_changed([blob.data_storage for blob in blobs], step)

    def _run_when_changed(self, storages: Sequence[Storage], step: Step) -> None:
        made = when_changed(storages, step)
        if self.ahead:
            self.steps.ahead.append(made)
        else:
            self.steps.calls.append(made.check)

    def compute_bound(self, step: Step) -> None:
        """Run a step that computes a bound from others: at this point of the plan, or `ahead`."""
        (self.steps.bounds if self.ahead else self.steps.calls).append(step)

    def host_vector(self, blob: Blob) -> Memory:
        """A learned vector (bias, scale, shift) in its host memory, as float32 of shape (count,)."""
        return self.weights(blob, MemoryDesc.plain((blob.count,)), MemoryDesc.plain((blob.count,)))

    def weight_diff(self, blob: Blob, desc: MemoryDesc, host: MemoryDesc) -> tuple[Memory, Callable[[], None]]:
        """Memory for a parameter's gradient, and a function to call after the primitive.

        The function appends the step that adds the gradient to the blob's diff.
        """
        fresh = Memory(self.device, desc)

        def accumulate() -> None:
            primitive = Primitive(
                self.device,
                "reorder_primitive_desc_create",
                [desc, self.device.engine, host, self.device.engine],
                [Arg.SRC],
                [Arg.DST],
                prefix=[],
                attributes=Attributes([SumPost()]),
            )
            self.call(primitive, {Arg.SRC: fresh, Arg.DST: self.diff_to_add_to(blob, host)})

        return fresh, accumulate

    def diff_to_add_to(self, blob: Blob, desc: MemoryDesc) -> Memory:
        """A parameter's diff on the host, to which the steps that follow add; desc: of its row-major float32 values."""
        value = HostValue(self.device, blob.diff_storage, (blob.count,))
        self.values.append(value)
        self._alive.append(blob.diff_storage)
        self._need(value)
        self.steps.makes[id(value)] = value
        return value.memory.view(desc)

    # -- calls ----------------------------------------------------------------------------------------------
    def call(self, primitive: Primitive, memories: Mapping[int, Memory]) -> None:
        """Run a primitive at this point of the plan."""
        self.steps.calls.append(self.prepared(primitive, memories))

    def call_guarded(
        self,
        primitive: Primitive,
        memories: Mapping[int, Memory],
        exact: Callable[..., Array],
        checked: Sequence[int] = (Arg.SRC,),
        reads: Sequence[int] | None = None,
        result: int = Arg.DST,
        bound: Bound | None = None,
        also: Sequence[Memory] = (),
    ) -> GuardedCall:
        """As `call`, for a primitive that can turn NaN and infinities into finite numbers: see `GuardedCall`."""
        reads = checked if reads is None else reads
        call = self._scratched(
            primitive, lambda pad: GuardedCall(primitive, memories, pad, exact, checked, reads, result, bound, also)
        )
        self.steps.calls.append(call)
        return call

    def call_guarded_as(
        self, forward: GuardedCall, down: Primitive, memories: Mapping[int, Memory], exact: Callable[[Array], Array]
    ) -> None:
        """As `call`; but DIFF_SRC comes from `exact`(DIFF_DST) where forward's check found NaN or infinities."""
        diff, result = [Arg.DIFF_DST], Arg.DIFF_SRC
        call = self._scratched(
            down, lambda pad: GuardedCall(down, memories, pad, exact, (), diff, result, forward=forward)
        )
        self.steps.calls.append(call)

    def call_while(
        self, bound: Bound, primitive: Primitive, memories: Mapping[int, Memory], otherwise: Callable[[], None]
    ) -> None:
        """As `call` while the bound holds; else `otherwise`, which makes the same result, runs."""
        self.steps.calls.append(
            self._scratched(primitive, lambda pad: BoundedCall(primitive, memories, pad, bound, otherwise))
        )

    @contextmanager
    def guarded_by(self, bound: Bound | None) -> Iterator[None]:
        """Within the block, primitives that turn NaN into numbers are built to run only while the bound holds."""
        self._bound = bound
        try:
            yield
        finally:
            self._bound = None

    def prepared(self, primitive: Primitive, memories: Mapping[int, Memory]) -> Call:
        """A call that the lowering places in the plan itself. All scratchpads share one buffer."""
        bound = self._bound
        if bound is not None:
            return self._scratched(primitive, lambda pad: bounded_call(primitive, memories, pad, bound))
        return self._scratched(primitive, lambda pad: Call(primitive, memories, pad))

    def _scratched(self, primitive: Primitive, make: Callable[[Memory | None], C]) -> C:
        scratchpad = None
        if primitive.scratchpad_desc is not None:
            if primitive.scratchpad > self._scratchpad.nbytes:
                self._scratchpad = aligned_bytes(primitive.scratchpad)
            scratchpad = Memory(self.device, primitive.scratchpad_desc, self._scratchpad)
        call = make(scratchpad)
        if scratchpad is not None:
            self._scratchpad_calls.append(call)
        return call

    @property
    def scratchpad(self) -> int:
        """Bytes of the largest scratchpad."""
        return self._scratchpad.nbytes

    def share_scratchpad(self) -> None:
        """Let all calls use the largest scratchpad, and all scratch memories of a slot the largest of these.

        To be called once, when the plan is complete.
        """
        for call in self._scratchpad_calls:
            call.memories[Arg.SCRATCHPAD].rebind(self._scratchpad)
        for slot, memories in self._scratch.items():
            for memory in memories:
                memory.rebind(self._scratch_bytes[slot])

    def scratch(self, desc: MemoryDesc, slot: int = 0) -> Memory:
        """Memory whose content matters within one layer's steps only: all of one slot share one buffer."""
        buffer = self._scratch_bytes.get(slot)
        if buffer is None or buffer.nbytes < desc.size:
            buffer = self._scratch_bytes[slot] = aligned_bytes(desc.size)
        return self._in_slot(Memory(self.device, desc, buffer), slot)

    def part(self, memory: Memory, desc: MemoryDesc, start: int = 0) -> Memory:
        """The bytes of a memory from `start` on under another descriptor; it moves where the memory moves."""
        view = memory.view(desc, start)
        slot = self._slots.get(id(memory))
        return view if slot is None else self._in_slot(view, slot)

    def _in_slot(self, memory: Memory, slot: int) -> Memory:
        self._scratch.setdefault(slot, []).append(memory)
        self._slots[id(memory)] = slot
        return memory

    def run(self, step: Step) -> None:
        """Run Python code at this point of the plan."""
        self.steps.calls.append(step)
