"""Plans: the current plan of a net, made anew when shapes, memory or phases have changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dragon.engines.cuda.device.device import Gpu
from dragon.engines.cuda.device.precision import HalfPrecision
from dragon.engines.cuda.plan.arrays import Arrays
from dragon.engines.cuda.plan.plan import Plan
from dragon.errors import DragonError

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["Plans"]


class Plans:
    """The current plan of a net. before_change, after_change: functions to call before and after it is replaced."""

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
            self._plan = Plan(
                self._net, self._gpu, self._fuse, self._plan, self._half_precision, self._channels_last,
                self._arrays.weight_last,
            )  # fmt: skip
            self._arrays.types, self._arrays.layouts = self._plan.types, self._plan.layouts
            self._version = self._net.context.space.version
            for call in self.after_change:
                call()
            self._arrays.forget()
        return self._plan

    def settle(self, start: int, end: int) -> None:
        """Reshape layers start..end, so that the plan is made for their final shapes."""
        for node in self._net.nodes[start : end + 1]:
            try:
                node.layer.reshape(node.bottoms, node.tops)
            except DragonError as error:
                error.at(node.layer.where)
                raise
