"""The cost of a training iteration on a GPU, counted without one: launches, bytes, the least time they take."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.columns import columns
from dragon.engines.cuda.device.counting import CountingDevice, Shaped
from dragon.engines.cuda.device.layout import Layout
from dragon.engines.cuda.device.precision import FLOAT16, HalfPrecision, type_in
from dragon.engines.cuda.lowerings.transform import byte_count
from dragon.engines.cuda.plan.gradients import first_writers
from dragon.engines.cuda.plan.layouts import on_tensor_cores
from dragon.engines.cuda.plan.lifetimes import (
    BLOCK,
    learned_storages,
    planned_bytes,
    planned_step_bytes,
    twins_in_training,
)
from dragon.engines.cuda.plan.plan import Group, Plan
from dragon.engines.cuda.plan.running import backward_readonly, forward_readonly
from dragon.engines.cuda.plan.touched import counting_precision, draws_of
from dragon.engines.cuda.plan.types import Types
from dragon.memory.storage import Storage

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["COPY_BANDWIDTH", "NODE_SECONDS", "LayerFigures", "PlanFigures", "plan_figures"]

COPY_BANDWIDTH = 4.3e12  # bytes per second that a copy on an H200 was measured to move
NODE_SECONDS = 2e-6  # between two nodes of a CUDA graph
UPDATE_PASSES = 6  # over the weights' bytes: weight, gradient and history read and written


@dataclass
class LayerFigures:
    """Forward and backward of one group. counted: False for array code, of which only the blobs' bytes are known."""

    name: str
    type: str
    kind: str
    launches: int = 0
    bytes: int = 0
    multiply_adds: int = 0
    counted: bool = True


@dataclass
class PlanFigures:
    """The figures of one iteration: by group of layers, of the update, and memory in bytes."""

    layers: list[LayerFigures] = field(default_factory=list)
    update_launches: int = 0
    update_bytes: int = 0
    blob_bytes: tuple[int, int, int] = (0, 0, 0)  # without sharing; with sharing in TEST; in use at a time
    step_bytes: tuple[int, int, int] = (0, 0, 0)  # the same of data and diffs in a forward and backward
    kept_bytes: int = 0  # of the arrays that layers keep from forward to backward
    parameter_bytes: int = 0  # of parameters, their gradients and statistics, without history
    bus_bytes: int = 0  # from the host to the GPU, each iteration

    @property
    def launches(self) -> int:
        """Kernels and copies of an iteration."""
        return self.update_launches + sum(layer.launches for layer in self.layers)

    @property
    def bytes(self) -> int:
        """Bytes read and written in the GPU's memory, each array of a launch counted once."""
        return self.update_bytes + sum(layer.bytes for layer in self.layers)

    @property
    def floor_seconds(self) -> float:
        """The least time of an iteration: that of its bytes on an H200, or that of its graph's nodes in sequence."""
        return max(self.bytes / COPY_BANDWIDTH, self.launches * NODE_SECONDS)

    def lines(self, width: int | None = None) -> list[str]:
        """A table of at most `width` columns, None for as many as it needs, one line each."""
        cells = [
            [
                f.name, f.kind, f.launches, f"{f.bytes / 1e6:.3f}", f"{f.multiply_adds / 1e6:.1f}",
                "" if f.counted else "(blobs only)",
            ]
            for f in self.layers
        ]  # fmt: skip
        cells.append(["update", "kernels", self.update_launches, f"{self.update_bytes / 1e6:.3f}", "", ""])
        cells.append(["iteration", "", self.launches, f"{self.bytes / 1e6:.3f}", "", ""])
        head = ["layer", "by", "launches", "MB", "MMAC", ""]
        rows = columns(head, cells, (0, 1, 5), width, rule=False).splitlines()
        apart, shared, least = (size / 1e6 for size in self.blob_bytes)
        rows.append(
            f"memory of blobs: {apart:.3f} MB apart; a forward in TEST needs {shared:.3f} MB, since those that are "
            f"never alive together share it ({least:.3f} MB are in use at a time)"
        )
        if any(self.step_bytes):
            apart, shared, least = (size / 1e6 for size in self.step_bytes)
            rows.append(
                f"memory of data and diffs in training: {apart:.3f} MB apart, {shared:.3f} MB shared ({least:.3f} MB "
                f"are in use at a time); layers keep {self.kept_bytes / 1e6:.3f} MB for backward; parameters and "
                f"gradients take {self.parameter_bytes / 1e6:.3f} MB"
            )
        rows.append(f"over the bus: {self.bus_bytes / 1e6:.3f} MB per iteration")
        by_bytes, by_nodes = self.bytes / COPY_BANDWIDTH, self.launches * NODE_SECONDS
        rows.append(
            f"floor on an H200: {self.floor_seconds * 1e6:.0f} us per iteration ({by_bytes * 1e6:.0f} us for the bytes "
            f"at {COPY_BANDWIDTH / 1e12:.1f} TB/s, {by_nodes * 1e6:.0f} us for the launches at "
            f"{NODE_SECONDS * 1e6:.0f} us each). Counted from the plan: nothing ran on a GPU."
        )
        return rows


def plan_figures(
    net: Net, backward: bool = True, fuse: bool = True, precision: str = "fp32", tf32: bool = False,
    channels_last: bool = True,
) -> PlanFigures:  # fmt: skip
    """The figures of one iteration of `net`, in its present shapes, with these options (see engines.Options).

    Needs neither CuPy nor a GPU.
    """
    device = CountingDevice()
    figures = PlanFigures()
    masters: set[Storage] = set()
    half = _half_precision(net, device, precision, masters)
    channels_last = channels_last and on_tensor_cores(net, None if half is None else half.dtype, tf32)
    turned: set[Storage] = set()  # parameters that are used with their channels last

    def weight_last(storage: Storage, _: Layout) -> Any:
        turned.add(storage)
        return Shaped(storage.count, storage.dtype if half is None else half.dtype)

    plan = Plan(net, device, fuse, half_precision=half, channels_last=channels_last, weight_last=weight_last)
    view = _View(device, plan)
    if backward:
        view.twins = twins_in_training(net, plan.groups, plan.types, plan.layouts)
    starts = first_writers(
        [group for group in reversed(plan.groups) if group.need_backward], {p.blob.diff_storage for p in net.learnable}
    )
    for group in plan.groups:
        if group.lowering is not None:
            group.lowering.fresh = set(starts.get(group.first, ()))
    figures.layers = [_of_group(device, plan.types, view, group, backward) for group in plan.groups]
    if backward and any(node.need_backward for node in net.nodes):
        learned = sum(p.blob.count * p.blob.dtype.itemsize for p in net.learnable)
        started = frozenset().union(*starts.values())
        cleared = {p.blob.diff_storage for p in net.learnable if p.blob.count} - started
        figures.update_launches = 2 + bool(cleared)  # check the loss, update the blobs; clear gradients
        figures.update_bytes = learned * UPDATE_PASSES + sum(2 * s.count for s in masters)
        figures.update_bytes += sum(s.count * s.dtype.itemsize for s in cleared)
        figures.update_bytes += sum(s.count * (s.dtype if half is None else half.dtype).itemsize for s in turned)
        if plan.types.half == FLOAT16:
            figures.update_launches += 3  # adopt the loss scale, square the gradients, sum the squares
            figures.update_bytes += learned
        figures.step_bytes = planned_step_bytes(net, plan.groups, plan.types)
        figures.kept_bytes = sum(group.lowering.kept_bytes for group in plan.groups if group.lowering is not None)
        figures.parameter_bytes = sum(s.count * s.dtype.itemsize for s in learned_storages(net))
    figures.blob_bytes = planned_bytes(net, plan.groups, plan.types)
    figures.bus_bytes = sum(_fed(group) for group in plan.groups)
    return figures


def _fed(group: Group) -> int:
    """Bytes that a source sends to the GPU in an iteration."""
    if not group.layer.is_source:
        return 0
    labels = group.tops[1:] if group.lowering is not None else group.tops
    images = byte_count(group.layer, group.tops) if group.lowering is not None else 0
    return images + sum(top.count * top.dtype.itemsize for top in labels)


def _half_precision(net: Net, device: CountingDevice, precision: str, masters: set[Storage]) -> HalfPrecision | None:
    """masters: filled with the parameters that are used in 16 bits."""
    dtype = type_in(precision) if net.context.dtype == np.float32 else None
    if dtype is None:
        return None

    return counting_precision(device, dtype, masters)


class _View:
    """The arrays that blobs hand out while launches are counted; conversions are counted where `Arrays` makes them.

    twins: storages at the place of another one.
    """

    def __init__(self, device: CountingDevice, plan: Plan) -> None:
        self._device, self._types, self._layouts = device, plan.types, plan.layouts
        self._space = plan.net.context.space
        self._places: dict[object, int] = {}
        self.twins: dict[Storage, Storage] = {}

    def _address(self, of: object) -> int:
        """A place in memory of a storage, or of a copy of one."""
        return self._places.setdefault(of, BLOCK * (1 + len(self._places)))

    @contextmanager
    def of(self, group: Group, readonly: frozenset[int]) -> Iterator[None]:
        """Within the block, hand out the arrays for a run of a group, which only reads the storages of these ids."""
        float32 = group.in_float and self._types.half is not None
        copies: dict[Storage, Any] = {}

        def view(storage: Storage, shape: tuple[int, ...]) -> Any:
            array = Shaped(math.prod(shape), self._types.of(storage), self._address(self.twins.get(storage, storage)))
            layout = self._layouts.of(storage)
            narrow = float32 and self._types.is_16_bit(storage)
            if narrow or (layout is not None and not group.channels_last):
                if storage not in copies:
                    dtype = storage.dtype if narrow else array.dtype
                    copies[storage] = Shaped(array.size, dtype, self._address((storage, "copy")))
                    self._device.convert(array, copies[storage], None, layout, None)
                array = copies[storage]
            return array.reshape(shape)

        self._space.view = view
        try:
            yield
            for storage, copy in copies.items():
                if id(storage) not in readonly:
                    array = Shaped(copy.size, self._types.of(storage))
                    self._device.convert(copy, array, None, None, self._layouts.of(storage))
        finally:
            self._space.view = None


def _of_group(device: CountingDevice, types: Types, view: _View, group: Group, backward: bool) -> LayerFigures:
    nodes, bottoms, tops = group.nodes, group.bottoms, group.tops
    needs = backward and nodes[0].need_backward
    name = nodes[0].name + (f" .. {nodes[-1].name}" if len(nodes) > 1 else "")
    found = LayerFigures(name, group.layer.type, group.kind)
    device.launches.clear()
    if group.lowering is None or group.runs_array_code:
        found.counted = False
        blobs = {id(b.data_storage): b for b in [*bottoms, *tops]}.values()
        size = sum(math.prod(b.shape) * types.of(b.data_storage).itemsize for b in blobs)
        shares = group.on_host or all(any(t.data_storage is b.data_storage for b in bottoms) for t in tops)
        found.bytes = 0 if shares else size * (2 if needs else 1)
        return found
    with draws_of(nodes):
        if not group.layer.is_source:
            group.lowering.prepare()
        with view.of(group, forward_readonly(group)):
            group.lowering.forward(bottoms, tops)
        if needs:
            with view.of(group, backward_readonly(group)):
                group.lowering.backward(tops, group.propagate_down, bottoms)
    found.launches = len(device.launches)
    found.bytes = sum(size for _, size, _ in device.launches)
    found.multiply_adds = sum(macs for _, _, macs in device.launches)
    return found
