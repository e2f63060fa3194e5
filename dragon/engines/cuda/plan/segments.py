"""Segment: consecutive groups in one direction, captured as a CUDA graph where possible."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon.engines.cuda.device.gpu import Gpu
from dragon.engines.cuda.device.graphs import WAITING, Captured
from dragon.engines.cuda.plan.arrays import Arrays
from dragon.engines.cuda.plan.plan import Group
from dragon.engines.cuda.plan.running import GroupRunner, has_host_part

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["Segment", "is_capturable"]


def is_capturable(group: Group) -> bool:
    """Whether a graph can replay this group: it runs no host code, and the host makes no decision by its values."""
    if group.on_host:
        return False
    return not group.runs_array_code or group.layer.capturable


class Segment(Captured):
    """Consecutive groups that run forward or backward, as `way` says."""

    def __init__(self, net: Net, gpu: Gpu, arrays: Arrays, runner: GroupRunner, way: str, group: Group) -> None:
        capturable = is_capturable(group)
        self._net = net
        self._runner = runner
        super().__init__(gpu, arrays, WAITING if capturable else f"eager: {group.kind}")
        self._way = way
        self.groups = [group]

    @property
    def name(self) -> str:
        """Direction, first and last layer."""
        return f"{self._way} {self.groups[0].nodes[0].name} .. {self.groups[-1].nodes[-1].name}"

    def takes(self, group: Group) -> bool:
        """Whether `group` may join this segment."""
        return not self.is_eager and is_capturable(group)

    def _eager(self) -> int | None:
        for group in self.groups:
            version = self._net.context.space.version
            if self._way == "forward":
                self._runner.forward(group)
            else:
                self._runner.backward(group)
            if self._net.context.space.version != version:
                return group.last + 1
        return None

    def _record(self) -> None:
        for group in self.groups:
            if self._way == "forward":
                self._runner.forward(group, prepare=False, reshape=False)
            else:
                self._runner.backward(group)

    def _prepare(self) -> None:
        if self._way == "forward":
            for group in self.groups:
                if has_host_part(group):
                    self._runner.prepare(group)
