"""Steps: the calls that a plan runs for a group of layers, and the values that they read and make."""

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
    """The layer cannot be lowered with these settings: it runs its reference code."""


@dataclass
class Steps:
    """The steps of one group of layers in one direction.

    needs: values that must be up to date before the steps run; makes: those that they compute; both by id. lazy:
    storages whose content is computed when they are read, with the place of the LazyCopy.
    """

    calls: list[Step] = field(default_factory=list)
    needs: dict[int, Value | HostValue] = field(default_factory=dict)
    makes: dict[int, Value | HostValue] = field(default_factory=dict)
    host_reads: list[Value] = field(default_factory=list)  # values that reference code reads on the host
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
    watched: list[Blob] = field(default_factory=list)  # `backward` uses their data of forward
