"""Plan: a net compiled for its present shapes and phases into lists of prepared steps."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from dragon.engines.onednn import lowerings, reference
from dragon.engines.onednn.binding import UnimplementedError
from dragon.engines.onednn.builder import Backward, Builder, Group, NotLoweredError, Steps
from dragon.engines.onednn.constants import DataType
from dragon.engines.onednn.fusion import find_groups
from dragon.engines.onednn.memory import Device
from dragon.engines.onednn.values import Value
from dragon.storage import Storage

if TYPE_CHECKING:
    from dragon.layer import Layer
    from dragon.net import Net

__all__ = ["Plan"]

log = logging.getLogger("dragon")


class Plan:
    """Groups of layers with their steps.

    fuse: whether several layers may become one group, and conversions of one group serve another. Without it any
    range of layers can be run by itself.
    """

    def __init__(
        self,
        net: Net,
        device: Device,
        dtype: DataType,
        *,
        training: bool,
        fuse: bool,
        whole: bool,
        verbose: bool = False,
        materialize: Callable[[int, int], None],
    ) -> None:
        self.net = net
        self.training = training
        self.whole = whole
        self._notice = log.info if verbose and whole else log.debug
        self.builder = Builder(net, device, dtype, training, whole, materialize)
        self.groups: list[Group] = []
        for first, last, fused in find_groups(net, training) if fuse else _single(net):
            self.groups += self._forward(first, last, fused)
        if training:
            for group in reversed(self.groups):
                self._backward(group)
        self.builder.share_scratchpad()
        self._programs: dict[tuple[int, ...], Program] = {}
        self._group_of = [g for g in self.groups for _ in range(g.first, g.last + 1)]
        self.loss_tops = [i for i, layer in enumerate(net.layers) if any(layer.loss_weights)]

    # -- compiling ------------------------------------------------------------------------------------------
    def _forward(self, first: int, last: int, fused: lowerings.Lowering | None) -> list[Group]:
        net, builder = self.net, self.builder
        group = Group(first, last)
        layer = net.layers[first]
        lowering = fused or lowerings.find(layer.type)
        if fused is None and reference.is_free(layer, net.bottoms[first], net.tops[first]):
            group.note = "passes memory on"
            group.build_backward = self._free_backward(first, lowering)
            return [group]
        if lowering is not None and self._has_primitives(layer, first):
            mark = builder.checkpoint()
            builder.steps = group.forward
            try:
                group.build_backward = lowering(builder, first)
            except (NotLoweredError, UnimplementedError) as error:
                self._notice("%s: not as one primitive: %s", layer.where, error)
                builder.rollback(mark)
                if first != last:
                    return [g for i in range(first, last + 1) for g in self._forward(i, i, None)]
                group = Group(first, last)
            else:
                names = net.layer_names[first + 1 : last + 1]
                group.note = f"onednn, with {', '.join(names)}" if names else "onednn"
                return [group]
        if lowering is not None and layer.dtype.itemsize != 4:
            self._notice("%s runs its reference: %s", layer.where, layer.dtype)
        group.note = "reference"
        builder.steps = group.forward
        reference.add_forward(builder, first)
        group.build_backward = lambda: reference.add_backward(builder, first)
        return [group]

    def _has_primitives(self, layer: Layer, index: int) -> bool:
        """float64 is the reference's, and so are blobs without elements."""
        blobs = (*self.net.bottoms[index], *self.net.tops[index])
        return layer.dtype.itemsize == 4 and all(blob.count for blob in blobs)

    def _free_backward(self, index: int, lowering: lowerings.Lowering | None) -> Backward | None:
        """Backward of a layer that shares memory: nothing where the diff is shared too, else its own."""
        net, builder = self.net, self.builder
        bottoms, tops = net.bottoms[index], net.tops[index]
        if not bottoms or not tops or all(top.diff_storage is bottoms[0].diff_storage for top in tops):
            return None
        if lowering is not None and self._has_primitives(net.layers[index], index):
            return lowering(builder, index)
        return lambda: reference.add_backward(builder, index)

    def _backward(self, group: Group) -> None:
        net, builder = self.net, self.builder
        if not any(net.layer_need_backward[group.first : group.last + 1]) or group.build_backward is None:
            return
        mark = builder.checkpoint()
        builder.steps = group.backward
        try:
            group.build_backward()
        except (NotLoweredError, UnimplementedError) as error:
            if group.first != group.last:
                raise
            self._notice("%s runs its reference backward: %s", net.layers[group.first].where, error)
            builder.rollback(mark)
            group.backward = builder.steps = Steps()
            reference.add_backward(builder, group.first)

    # -- running --------------------------------------------------------------------------------------------
    @property
    def valid(self) -> bool:
        """Whether all storages still have the memory that this plan was made with."""
        return all(value.valid for value in self.builder.values) and all(
            storage.copy_at(place) is not None for storage, place in self.builder.lazies
        )

    def forward(self, start: int, end: int) -> None:
        self._run((start, end), lambda: [g.forward for g in self._range(start, end)])

    def backward(self, start: int, end: int) -> None:
        self._run((start, end, -1), lambda: [g.backward for g in reversed(list(self._range(end, start)))])

    def group_of(self, layer: int) -> Group:
        """The group that a layer belongs to."""
        return self._group_of[layer]

    def _range(self, first: int, last: int) -> Iterator[Group]:
        return (g for g in self.groups if first <= g.first and g.last <= last)

    def _run(self, key: tuple[int, ...], parts: Callable[[], Sequence[Steps]]) -> None:
        program = self._programs.get(key)
        if program is None:
            program = self._programs[key] = Program(parts())
        program.run()

    def detach(self) -> None:
        """Save what only this plan's memories hold and let go of the storages."""
        for value in self.builder.values:
            if isinstance(value, Value):
                value.storage.detach(value.place)
        for storage, place in self.builder.lazies:
            storage.detach(place)


class Program:
    """The steps of consecutive groups as one list, and what they need from before."""

    def __init__(self, parts: Sequence[Steps]) -> None:
        self.needs: list[Callable[[], object]] = []
        self.calls: list[Callable[[], object]] = []
        made: set[int] = set()
        seen: set[int] = set()
        for steps in parts:
            for key, value in steps.needs.items():
                if key not in made and key not in seen:
                    seen.add(key)
                    self.needs.append(value.bring)
            made.update(steps.makes)
            self.calls += steps.calls
            for value in steps.makes.values():
                if isinstance(value, Value):
                    self.calls.append(value.mark)
            self.calls += [_lazy_mark(storage, place) for storage, place in steps.lazy]

    def run(self) -> None:
        for bring in self.needs:
            bring()
        for call in self.calls:
            call()


def _lazy_mark(storage: Storage, place: str) -> Callable[[], None]:
    return lambda: storage.wrote(place)


def _single(net: Net) -> Iterator[tuple[int, int, None]]:
    for i in range(len(net.layers)):
        yield i, i, None
