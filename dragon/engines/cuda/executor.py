"""The CUDA engine: a net's arrays and work on one GPU, steady parts replayed as CUDA graphs."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.engines.base import Executor, LayerTime, Options, debug_blobs, measure_layers, renamed
from dragon.engines.cuda.copies import device_array
from dragon.engines.cuda.device import Gpu, open_gpu
from dragon.engines.cuda.graphs import Segment
from dragon.engines.cuda.lowering import Lowering
from dragon.engines.cuda.plan import Group, Plan
from dragon.engines.cuda.report import Report
from dragon.engines.cuda.solver import DeviceUpdate
from dragon.errors import DataError, DragonError, EngineError
from dragon.storage import Array, Storage

if TYPE_CHECKING:
    from dragon.net import Net
    from dragon.solvers.update import Updater

__all__ = ["CudaExecutor"]

log = logging.getLogger("dragon")


class CudaExecutor(Executor):
    name = "cuda"

    def __init__(self, net: Net, options: Options) -> None:
        super().__init__(net, options)
        if options.precision != "fp32":
            raise EngineError(f"the cuda engine computes in fp32 only, precision {options.precision} was asked for")
        self.gpu: Gpu = open_gpu(Options.default_device if options.device is None else options.device)
        self._plan: Plan | None = None
        self._version = -1
        self._fused: set[int] = set()  # first layers of groups whose last forward ran as one
        self._segments: dict[tuple[str, int, int], list[Segment]] = {}
        self._storages: dict[int, Storage] = {}  # all that have a copy here
        self._readonly: frozenset[int] = frozenset()
        self.touched: dict[int, Storage] | None = None  # what a run reads and writes, while somebody wants to know
        self.written: dict[int, Storage] | None = None
        self._update: DeviceUpdate | None = None
        self._clocked = False  # somebody times the runs
        with self.gpu.active():
            self._faults = self.gpu.zeros(len(net.layers), np.int32)

    # -- arrays ---------------------------------------------------------------------------------------------
    def _view(self, storage: Storage, shape: tuple[int, ...]) -> Any:
        """What a blob hands out while layers run here."""
        array = self.array_of(storage)
        if id(storage) not in self._readonly:
            storage.wrote(self.gpu.place)
            if self.written is not None:
                self.written[id(storage)] = storage
        count = 1
        for dim in shape:
            count *= dim
        return (array if array.size == count else array[:count]).reshape(shape)

    def array_of(self, storage: Storage) -> Any:
        """A storage's flat array on the GPU, up to date."""
        self._storages[id(storage)] = storage
        if self.touched is not None:
            self.touched[id(storage)] = storage
        return device_array(self.gpu, storage)

    def _begin(self) -> None:
        """Whoever holds a view of a host copy may have written it."""
        self.gpu.tf32 = self.options.tf32
        for storage in self._storages.values():
            if storage.held:
                storage.write()

    def _end(self) -> None:
        """Whoever holds a view of a host copy wants to see what was computed."""
        for storage in self._storages.values():
            if storage.held:
                storage.read()

    # -- plan -----------------------------------------------------------------------------------------------
    @property
    def plan(self) -> Plan:
        version = self.net.context.where.version
        if self._plan is None or self._version != version:
            self._plan = Plan(self.net, self.gpu, self.options.fuse, self._plan)
            self._version = version
            self._segments.clear()
            self._storages = {k: s for k, s in self._storages.items() if s.copy_at(self.gpu.place) is not None}
        return self._plan

    def _groups(self, start: int, end: int, way: str) -> list[Group]:
        """The groups of layers start..end: as one only where all of a group lies inside and nobody looks in."""
        plan, net, groups = self.plan, self.net, []
        watched = net.debug_info or (
            (net.before_forward_hooks or net.after_forward_hooks)
            if way == "forward"
            else (net.before_backward_hooks or net.after_backward_hooks)
        )
        index = start
        while index <= end:
            whole = plan.whole.get(index)
            group = plan.single(index)
            if whole is not None and whole.last > index:
                if way == "forward":
                    as_one = whole.last <= end and not watched
                    (self._fused.add if as_one else self._fused.discard)(index)
                else:
                    as_one = index in self._fused
                    if as_one and whole.last > end:
                        raise EngineError(self._divided(whole))
                if as_one:
                    group = whole
            elif way == "backward" and any(
                first in self._fused and first < index <= plan.whole[first].last for first in self._fused
            ):
                raise EngineError(self._divided(next(g for g in plan.groups if g.first < index <= g.last)))
            groups.append(group)
            index = group.last + 1
        return groups

    def _divided(self, group: Group) -> str:
        names = self.net.layer_names
        return (
            f'layers "{names[group.first]}" to "{names[group.last]}" ran forward as one and must run backward '
            "as one: run all of them, or switch fusing off"
        )

    # -- running --------------------------------------------------------------------------------------------
    def forward(self, start: int, end: int) -> float:
        with self.gpu.active():
            self._begin()
            self._run("forward", start, end)
            loss = Report(self, start, end).loss()
            self._end()
        return loss

    def backward(self, start: int, end: int) -> None:
        with self.gpu.active():
            self._begin()
            self._run("backward", end, start)
            self._end()
            if self._clocked:
                self.gpu.stream.synchronize()

    def forward_backward(self) -> float:
        """One pass each way. Backward is under way on the GPU before the loss has come from it."""
        last = len(self.net.layers) - 1
        if self._is_watched():
            return super().forward_backward()
        with self.gpu.active():
            self._begin()
            self._run("forward", 0, last)
            report = Report(self, 0, last)
            self._run("backward", 0, last)
            loss = report.loss()
            self._end()
        return loss

    def _is_watched(self) -> bool:
        net = self.net
        hooks = (net.before_forward_hooks, net.after_forward_hooks, net.before_backward_hooks, net.after_backward_hooks)
        return net.debug_info or any(hooks)

    def _run(self, way: str, start: int, end: int) -> None:
        """Run layers start..end, start being the lower one, in the order of `way`."""
        if self._is_watched():
            groups = self._groups(start, end, way)
            for group in groups if way == "forward" else reversed(groups):
                self._watched(way, group)
            return
        key = (way, start, end)
        if way == "forward" and self._version != self.net.context.where.version:
            self._settle(start, end)
        _ = self.plan
        segments = self._segments.get(key)
        if segments is None:
            segments = self._segments[key] = self._divide(way, start, end)
        elif way == "forward":
            self._groups(start, end, way)  # remembers what ran as one
        for segment in segments:
            rest = segment.run()
            if rest is not None and way == "forward":
                if rest <= end:
                    self._run(way, rest, end)
                break

    def _settle(self, start: int, end: int) -> None:
        """Give all tops their shapes before the plan is made."""
        for i in range(start, end + 1):
            layer = self.net.layers[i]
            try:
                layer.reshape(self.net.bottoms[i], self.net.tops[i])
            except DragonError as error:
                raise renamed(error, layer.where) from error

    def _divide(self, way: str, start: int, end: int) -> list[Segment]:
        """Consecutive groups that may become one graph, and the others one by one."""
        groups = self._groups(start, end, way)
        if way == "backward":
            groups = [g for g in reversed(groups) if any(self.net.layer_need_backward[g.first : g.last + 1])]
        segments: list[Segment] = []
        for group in groups:
            if segments and segments[-1].takes(group):
                segments[-1].groups.append(group)
            else:
                segments.append(Segment(self, way, [group]))
        return segments

    def _watched(self, way: str, group: Group) -> None:
        net, i = self.net, group.first
        before = net.before_forward_hooks if way == "forward" else net.before_backward_hooks
        after = net.after_forward_hooks if way == "forward" else net.after_backward_hooks
        for hook in before:
            hook(i)
        self._begin()
        if way == "forward":
            self.run_group(group)
        elif net.layer_need_backward[i]:
            self.run_group_backward(group)
        self._end()
        if net.debug_info and (way == "forward" or net.layer_need_backward[i]):
            debug_blobs(net, way.capitalize(), i)
        for hook in after:
            hook(i)

    # -- one group ------------------------------------------------------------------------------------------
    def run_group(self, group: Group, *, prepare: bool = True, reshape: bool = True) -> None:
        """Forward of a group, now or into the graph that is being captured."""
        net, first, last = self.net, group.first, group.last
        layer, bottoms, tops = net.layers[first], net.bottoms[first], net.tops[last]
        where = net.context.where
        try:
            if reshape:
                for i in range(first, last + 1):
                    net.layers[i].reshape(net.bottoms[i], net.tops[i])
                if where.version != self._version and not group.on_host:
                    group = self._again(group)
            if group.on_host:
                layer.forward(bottoms, tops)
            else:
                self._readonly = self._forward_readonly(first, last)
                where.view = self._view
                if group.lowering is None:
                    layer.forward(bottoms, tops)
                else:
                    if prepare:
                        self.prepare(group)
                    group.lowering.forward(bottoms, tops)
        except DragonError as error:
            raise renamed(error, layer.where) from error
        except (TypeError, NotImplementedError, AttributeError) as error:
            if group.lowering is not None or group.on_host or self._is_capturing():
                raise
            where.view = None
            self._to_host(group, error)
            layer.forward(bottoms, tops)
        except MemoryError as error:
            raise self._out_of_memory(layer.where, error) from None
        finally:
            where.view = None
        for i in range(first, last + 1):
            if any(net.layers[i].loss_weights):
                net.fill_loss_weights(i, net.tops[i])

    def _again(self, group: Group) -> Group:
        """Shapes changed: the group's layers keep their lowering if it still takes them."""
        plan = self.plan
        whole = plan.whole.get(group.first)
        if group.last > group.first and whole is not None and whole.last == group.last:
            return whole
        if group.last > group.first:
            raise EngineError("shapes changed so that layers cannot run as one any more: run the net again")
        return plan.single(group.first)

    def prepare(self, group: Group) -> None:
        """The host's part of a group's forward."""
        lowering = group.lowering
        if lowering is None:
            return
        if lowering.fault is None and type(lowering).describe_fault is not _NO_FAULT:
            lowering.fault = self._faults[group.first : group.first + 1]
        lowering.prepare()

    def run_group_backward(self, group: Group) -> None:
        """Backward of a group, now or into the graph that is being captured."""
        net, first, last = self.net, group.first, group.last
        layer, bottoms, tops = net.layers[first], net.bottoms[first], net.tops[last]
        where, flags = net.context.where, net.bottom_need_backward[first]
        try:
            if group.on_host:
                layer.backward(tops, flags, bottoms)
                return
            self._readonly = self._backward_readonly(first, last)
            where.view = self._view
            if group.lowering is None:
                layer.backward(tops, flags, bottoms)
            else:
                group.lowering.backward(tops, flags, bottoms)
        except DragonError as error:
            raise renamed(error, layer.where) from error
        except MemoryError as error:
            raise self._out_of_memory(layer.where, error) from None
        finally:
            where.view = None

    def _forward_readonly(self, first: int, last: int) -> frozenset[int]:
        net = self.net
        written = {id(t.data_storage) for t in net.tops[last]}
        read = [b.data_storage for b in net.bottoms[first]]
        for i in range(first, last + 1):
            layer = net.layers[i]
            read += [blob.data_storage for j, blob in enumerate(layer.blobs) if j not in layer.buffers]
        return frozenset(id(s) for s in read if id(s) not in written)

    def _backward_readonly(self, first: int, last: int) -> frozenset[int]:
        net = self.net
        bottoms = net.bottoms[first]
        written = {id(b.diff_storage) for b in bottoms}
        read = [blob.data_storage for blob in [*bottoms, *net.tops[last]]]
        read += [top.diff_storage for top in net.tops[last]]
        for i in range(first, last + 1):
            read += [blob.data_storage for blob in net.layers[i].blobs]
        return frozenset(id(s) for s in read if id(s) not in written)

    def _is_capturing(self) -> bool:
        return bool(self.gpu.stream.is_capturing())

    def _to_host(self, group: Group, error: Exception) -> None:
        group.on_host = True
        group.note = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:80]
        log.info("%s runs on the host: %s", self.net.layers[group.first].where, group.note)

    def _out_of_memory(self, where: str, error: MemoryError) -> EngineError:
        asked = re.search(r"allocating ([\d,]+) bytes", str(error))
        bytes_ = asked.group(1) if asked else "an unknown number of"
        return EngineError(
            f"{where}: out of memory on GPU {self.gpu.number}: asked for {bytes_} bytes; use a smaller batch"
        )

    # -- faults -----------------------------------------------------------------------------------------------
    def labelled(self, start: int, end: int) -> list[Group]:
        """Groups that may have found a label that is no class."""
        return [
            g for g in self.plan.groups
            if start <= g.first and g.last <= end and g.lowering is not None and g.lowering.fault is not None
        ]  # fmt: skip

    def raise_faults(self, faults: Sequence[int] | Array) -> None:
        """DataError for the first layer that found one."""
        for group in self.plan.groups:
            if group.lowering is not None and faults[group.first]:
                self._faults[...] = 0
                bottoms = self.net.bottoms[group.first]
                raise DataError(group.lowering.describe_fault(bottoms, int(faults[group.first]) - 1))

    @property
    def faults(self) -> Any:
        """One int32 for each layer."""
        return self._faults

    # -- solver -----------------------------------------------------------------------------------------------
    def clear_param_diffs(self) -> None:
        with self.gpu.active():
            self._begin()
            storages = [p.blob.diff_storage for p in self.net.learnable if p.blob.count]
            if self._update is not None and self._update.clear(self):
                pass
            else:
                for storage in storages:
                    self.array_of(storage)[...] = 0
            for storage in storages:
                storage.wrote(self.gpu.place)
            self._end()

    def update(self, updater: Updater, rate: float, iteration: int) -> None:
        with self.gpu.active():
            self._begin()
            if self._update is None or self._update.updater is not updater:
                self._update = DeviceUpdate(updater)
            self._update.apply(self, rate, iteration)
            self._end()

    # -- telling ------------------------------------------------------------------------------------------------
    def profile(self, iterations: int, backward: bool = True) -> list[LayerTime]:
        self._clocked = True
        try:
            return measure_layers(self, iterations, backward)
        finally:
            self._clocked = False

    def describe(self) -> list[str]:
        notes = [""] * len(self.net.layers)
        for group in self.plan.groups:
            joined = "" if group.last == group.first else f", with {self.net.layer_names[group.first + 1]}"
            notes[group.first] = group.kind + joined
            for i in range(group.first + 1, group.last + 1):
                notes[i] = f"in {self.net.layer_names[group.first]}"
        return notes

    def graph_notes(self) -> list[str]:
        """How the parts of the last runs are repeated, one line each."""
        names = self.net.layer_names
        return [
            f"{way} {names[s.groups[0].first]} .. {names[s.groups[-1].last]}: {s.state}"
            for (way, _, _), segments in self._segments.items()
            for s in segments
        ]

    def remarks(self) -> list[str]:
        return [*self.graph_notes(), f"Peak memory of the GPU: {self.peak_bytes() / 2**20:,.0f} MiB"]

    def peak_bytes(self) -> int:
        """Device memory of this process's pool and of this net's graphs, the most they ever needed."""
        with self.gpu.active():
            shared = int(self.gpu.cupy.get_default_memory_pool().total_bytes())
            return shared + sum(s.pool_bytes for segments in self._segments.values() for s in segments)


_NO_FAULT = Lowering.describe_fault
