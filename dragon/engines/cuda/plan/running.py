"""Forward and backward of one group of layers: by kernels, by array code on the GPU, or on the host."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dragon.engines.cuda.device.gpu import Gpu
from dragon.engines.cuda.lowerings.lowering import Lowering
from dragon.engines.cuda.plan.arrays import Arrays
from dragon.engines.cuda.plan.memory import out_of_memory
from dragon.engines.cuda.plan.plan import Group
from dragon.engines.cuda.plan.plans import Plans
from dragon.engines.cuda.plan.report import RangeErrors
from dragon.engines.frozen import clear, frozen_blobs
from dragon.errors import DragonError, EngineError
from dragon.memory.blob import Blob

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["GroupRunner", "backward_readonly", "forward_readonly", "has_host_part"]

log = logging.getLogger("dragon")
_NO_INDICES = Lowering.describe_out_of_range


class GroupRunner:
    """Runs groups of layers, forward and backward."""

    def __init__(self, net: Net, gpu: Gpu, arrays: Arrays, plans: Plans, range_errors: RangeErrors) -> None:
        self._net = net
        self._gpu = gpu
        self._arrays = arrays
        self._plans = plans
        self._range_errors = range_errors
        self._frozen: dict[tuple[int, int], list[Blob]] = {}  # by first and last layer

    def forward(self, group: Group, *, prepare: bool = True, reshape: bool = True) -> None:
        """Run a group forward, at once or into the graph that is being captured."""
        layer, bottoms, tops = group.layer, group.bottoms, group.tops
        space = self._net.context.space
        try:
            if reshape:
                for node in group.nodes:
                    node.layer.reshape(node.bottoms, node.tops)
                if self._plans.is_outdated and not group.on_host:
                    group = self._group_of_new_plan(group)
            if all(node.is_empty for node in group.nodes):
                return
            if group.on_host:
                layer.forward(bottoms, tops)
            else:
                self._arrays.readonly = forward_readonly(group)
                space.view = self._arrays.view
                if prepare:
                    self.prepare(group)
                    self._gpu.send_staged()
                with self._arrays.in_form(group.in_float, group.channels_last):
                    (group.lowering or layer).forward(bottoms, tops)
        except DragonError as error:
            error.at(layer.where)
            raise
        except (TypeError, NotImplementedError, AttributeError) as error:
            if group.lowering is not None or group.on_host or self._gpu.stream.is_capturing():
                raise
            space.view = None
            self._to_host(group, error)
            layer.forward(bottoms, tops)
        except MemoryError as error:
            raise out_of_memory(self._gpu, layer.where, error) from None
        finally:
            space.view = None
        for node in group.nodes:
            if node.makes_loss:
                node.fill_loss_weights()

    def prepare(self, group: Group) -> None:
        """Do the host's part of a group's forward."""
        lowering = group.lowering
        if lowering is None:
            return
        if lowering.out_of_range is None and type(lowering).describe_out_of_range is not _NO_INDICES:
            lowering.out_of_range = self._range_errors.of(group.first)
        lowering.prepare()

    def backward(self, group: Group) -> None:
        """Run a group backward, at once or into the graph that is being captured."""
        layer, bottoms, tops = group.layer, group.bottoms, group.tops
        space, flags = self._net.context.space, group.propagate_down
        try:
            if all(node.is_empty for node in group.nodes):
                return
            if group.on_host:
                layer.backward(tops, flags, bottoms)
                clear(self._frozen_of(group))
                return
            self._arrays.readonly = backward_readonly(group)
            space.view = self._arrays.view
            with self._arrays.in_form(group.in_float, group.channels_last):
                (group.lowering or layer).backward(tops, flags, bottoms)
            for blob in self._frozen_of(group):
                blob.diff[...] = 0
        except DragonError as error:
            error.at(layer.where)
            raise
        except MemoryError as error:
            raise out_of_memory(self._gpu, layer.where, error) from None
        finally:
            space.view = None

    def _frozen_of(self, group: Group) -> list[Blob]:
        key = group.first, group.last
        found = self._frozen.get(key)
        if found is None:
            found = self._frozen[key] = [b for node in group.nodes for b in frozen_blobs(self._net, node)]
        return found

    def take_apart(self, group: Group) -> None:
        """Run the layers of a group forward again, one by one, for a backward over a part of them.

        Its tops and the running statistics get back the values that they had.
        """
        lowering, top = group.lowering, group.nodes[0].tops[0]
        if lowering is None or not lowering.learns or not lowering.fits(top.shape):
            return
        seen = list({node.tops[0].data_storage: None for node in group.nodes})
        for node in group.nodes:
            seen += [node.layer.blobs[j].data_storage for j in node.layer.buffers]
        before = [self._arrays.of(storage).copy() for storage in seen]
        if top is group.bottoms[0] and lowering.has_copy:
            array = self._arrays.of(top.data_storage)
            kept = lowering.buffer("x", top.count, lowering.stored)
            layout = self._arrays.layouts.of(top.data_storage)
            self._gpu.convert(kept, array[: top.count], None, layout if group.channels_last else None, layout)
            top.data_storage.wrote(self._gpu.place)
        for node in group.nodes:
            self.forward(self._plans.current.single(node.index), reshape=False)
        for storage, value in zip(seen, before, strict=True):
            self._arrays.of(storage)[...] = value
            storage.wrote(self._gpu.place)

    def _group_of_new_plan(self, group: Group) -> Group:
        """The group of the same layers in the plan that is made for the changed shapes."""
        plan = self._plans.current
        whole = plan.whole.get(group.first)
        if group.last > group.first and whole is not None and whole.last == group.last:
            return whole
        if group.last > group.first:
            raise EngineError("shapes changed so that layers cannot run as one any more: run the net again")
        return plan.single(group.first)

    def _to_host(self, group: Group, error: Exception) -> None:
        group.on_host = True
        group.note = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:80]
        log.info("%s runs on the host: %s", group.layer.where, group.note)


def has_host_part(group: Group) -> bool:
    """Whether the host has to do something before each forward, also before one that is replayed."""
    return group.lowering is not None and group.lowering.has_host_part


def forward_readonly(group: Group) -> frozenset[int]:
    """The ids of the storages that a forward of a group reads and does not write."""
    written = {id(top.data_storage) for node in group.nodes for top in node.tops}
    read = [b.data_storage for b in group.bottoms]
    for layer in (node.layer for node in group.nodes):
        read += [blob.data_storage for j, blob in enumerate(layer.blobs) if j not in layer.buffers]
    return frozenset(id(s) for s in read if id(s) not in written)


def backward_readonly(group: Group) -> frozenset[int]:
    """The ids of the storages that a backward of a group reads and does not write."""
    written = {id(b.diff_storage) for b in group.bottoms}
    if group.lowering is not None and group.lowering.overwrites_top_diff:
        written |= {id(top.diff_storage) for top in group.tops}
    read = [blob.data_storage for blob in [*group.bottoms, *group.tops]]
    read += [top.diff_storage for top in group.tops]
    for node in group.nodes:
        read += [blob.data_storage for blob in node.layer.blobs]
    return frozenset(id(s) for s in read if id(s) not in written)
