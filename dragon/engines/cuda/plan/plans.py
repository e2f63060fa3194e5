"""Plans: the current plan of a net, and those for the other shapes that it has had lately."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dragon.engines.cuda.device.gpu import Gpu
from dragon.engines.cuda.device.precision import HalfPrecision
from dragon.engines.cuda.plan.arrays import Arrays
from dragon.engines.cuda.plan.graphs import Graphs
from dragon.engines.cuda.plan.plan import Plan
from dragon.engines.cuda.plan.reuse import Reuse
from dragon.errors import DragonError

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["KEPT_SHAPES", "Plans"]

KEPT_SHAPES = 8  # the current plan is one of them
KEPT_BYTES = 1 << 30  # most that the graphs of the other ones may have for themselves


class Plans:
    """The plans of a net for the shapes that it has had lately, each with its graphs. One of them is current.

    Memory is the same for all: a net that comes back to shapes of before replays their graphs as long as no array has
    moved since. before_change, after_change: functions to call before and after another plan becomes current.
    """

    def __init__(
        self, net: Net, gpu: Gpu, arrays: Arrays, fuse: bool, half_precision: HalfPrecision | None, channels_last: bool,
    ) -> None:  # fmt: skip
        self._net = net
        self._gpu = gpu
        self._arrays = arrays
        self._fuse = fuse
        self._half_precision = half_precision
        self._channels_last = channels_last
        self._plan: Plan | None = None
        self._kept: OrderedDict[tuple[Any, ...], Plan] = OrderedDict()  # the current one is the last
        self._reuse = Reuse(gpu, self.forget_others)
        self._version = -1  # of the net's shapes and memory
        self.before_change: list[Callable[[], None]] = []
        self.after_change: list[Callable[[], None]] = []

    @property
    def is_outdated(self) -> bool:
        """Whether shapes, memory or phases changed since the plan was made; also where there is none yet."""
        return self._version != self._net.context.space.version

    @property
    def current(self) -> Plan:
        """The plan for the net's present shapes, memory and phases."""
        if self._plan is None or self.is_outdated:
            for call in self.before_change:
                call()
            key = self._key()
            if self._arrays.have_moved():
                self._kept.clear()
            plan = self._kept.get(key)
            if plan is None:
                plan = self._make(key)
            self._kept[key] = self._plan = plan
            self._kept.move_to_end(key)
            self._drop_oldest()
            self._arrays.adopt(plan.types, plan.layouts)
            self._version = self._net.context.space.version
            for call in self.after_change:
                call()
            self._arrays.forget()
        return self._plan

    def _key(self) -> tuple[Any, ...]:
        """What a plan depends on: the shapes, and how often something else has changed."""
        blobs = {id(b): b for node in self._net.nodes for b in (*node.bottoms, *node.tops, *node.layer.blobs)}
        return self._net.context.space.exchanges, *(blob.shape for blob in blobs.values() if not blob.is_loose)

    def _make(self, key: tuple[Any, ...]) -> Plan:
        plan = Plan(
            self._net, self._gpu, self._fuse, self._plan, self._half_precision, self._channels_last,
            self._arrays.weight_last, self._reuse,
        )  # fmt: skip
        for known in [known for known in self._kept if known[0] != key[0]]:
            del self._kept[known]
        return plan

    def _drop_oldest(self) -> None:
        """Forget the plans that were current longest ago, where they are many or their graphs have much memory."""
        *others, _ = self._kept
        while others and (len(others) >= KEPT_SHAPES or self._bytes_of(others) > KEPT_BYTES):
            del self._kept[others.pop(0)]

    def _bytes_of(self, keys: list[tuple[Any, ...]]) -> int:
        return sum(self._kept[key].graphs.pool_bytes for key in keys)

    def has_present(self) -> bool:
        """Whether there is a plan for the present shapes."""
        return self._key() in self._kept

    @property
    def graphs(self) -> Graphs:
        """The graphs of the last plan."""
        return Graphs() if self._plan is None else self._plan.graphs

    @property
    def pool_bytes(self) -> int:
        """Device memory that only graphs use."""
        return self._bytes_of(list(self._kept))

    def forget_graphs(self) -> None:
        """Drop the graphs of the current plan, since arrays have moved."""
        self.graphs.forget()

    def forget_others(self) -> None:
        """Drop all plans but the current one, since memory has moved that they share."""
        for key in [key for key, plan in self._kept.items() if plan is not self._plan]:
            del self._kept[key]

    def settle(self, start: int, end: int) -> None:
        """Reshape layers start..end, so that the plan is made for their final shapes."""
        for node in self._net.nodes[start : end + 1]:
            try:
                node.layer.reshape(node.bottoms, node.tops)
            except DragonError as error:
                error.at(node.layer.where)
                raise
