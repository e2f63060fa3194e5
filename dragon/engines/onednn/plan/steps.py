"""Steps: what a plan runs for a group of layers, and what must be newest before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dragon.engines.onednn.plan.values import HostValue, Value
from dragon.memory.blob import Blob
from dragon.memory.storage import Storage

__all__ = ["Backward", "Group", "NotLoweredError", "Step", "Steps"]

Step = Callable[[], object]
Backward = Callable[[], None]


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
