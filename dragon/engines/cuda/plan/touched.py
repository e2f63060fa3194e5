"""Which storages a group's kernels read and write, found by a run of its lowering on a device that only counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.engines.cuda.device.counting import CountingDevice, Shaped
from dragon.engines.cuda.device.precision import FLOAT16, HalfPrecision
from dragon.engines.cuda.plan.plan import Group
from dragon.engines.cuda.plan.types import Types
from dragon.memory.storage import Storage

if TYPE_CHECKING:
    from dragon.graph.node import Node

__all__ = ["Touched", "counting_precision", "draws_of", "touched_by"]


@dataclass(frozen=True)
class Touched:
    """The storages whose arrays a group asks for, in forward and in backward: of bottoms, tops and parameters."""

    forward: frozenset[Storage]
    backward: frozenset[Storage]


class _View:
    """The arrays that blobs hand out during the run; `seen` records of which storages."""

    def __init__(self) -> None:
        self.seen: set[Storage] = set()
        self.types: Types | None = None  # None: every storage in its own type

    def __call__(self, storage: Storage, shape: tuple[int, ...]) -> Any:
        self.seen.add(storage)
        return Shaped(shape, storage.dtype if self.types is None else self.types.of(storage))

    def taken(self) -> frozenset[Storage]:
        """What has been recorded since the last call."""
        seen, self.seen = frozenset(self.seen), set()
        return seen


def touched_by(group: Group, types: Types) -> Touched:
    """What a group's lowering touches in the present shapes; of a source, its tops and nothing in backward.

    The group must have a lowering that runs no array code, unless it is a source.
    """
    if group.layer.is_source:
        return Touched(frozenset(top.data_storage for top in group.tops), frozenset())
    assert group.lowering is not None
    device = CountingDevice()
    lowering = group.lowering.on(device)
    lowering.learns, lowering.channels_last = group.need_backward, group.channels_last
    if not group.in_float and types.half is not None:
        lowering.use(counting_precision(device, types.half, set()))
    view = _View()
    view.types = None if group.in_float else types
    backward: frozenset[Storage] = frozenset()
    with draws_of(group.nodes), _handing_out(group, view):
        lowering.prepare()
        lowering.forward(group.bottoms, group.tops)
        forward = view.taken()
        if group.need_backward:
            lowering.backward(group.tops, group.propagate_down, group.bottoms)
            backward = view.taken()
    known = [blob for node in group.nodes for blob in (*node.bottoms, *node.tops, *node.layer.blobs)]
    outside = {storage for blob in known for storage in (blob.data_storage, blob.diff_storage)}
    return Touched(forward & outside, backward & outside)


def counting_precision(device: CountingDevice, half: np.dtype[Any], masters: set[Storage]) -> HalfPrecision:
    """16-bit activations on a counting device. masters: filled with the parameters that are used in 16 bits."""

    def working(storage: Storage) -> Any:
        masters.add(storage)
        return Shaped(storage.count, half)

    factor = device.empty(1, np.float32) if half == FLOAT16 else None
    return HalfPrecision(half, working, factor, factor)


@contextmanager
def draws_of(nodes: Sequence[Node]) -> Iterator[None]:
    """After the block, the random streams of these layers are where they were before it."""
    before = [node.layer.rng.draws for node in nodes]
    try:
        yield
    finally:
        for node, draws in zip(nodes, before, strict=True):
            node.layer.rng.draws = draws


@contextmanager
def _handing_out(group: Group, view: Any) -> Iterator[None]:
    space = group.layer.context.space
    outer, space.view = space.view, view
    try:
        yield
    finally:
        space.view = outer
