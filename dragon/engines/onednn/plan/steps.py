"""Steps: the calls that a plan runs for a group of layers, and the values that they read and make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

from dragon.engines.onednn.plan.bound import Measured
from dragon.engines.onednn.plan.values import HostValue, Value
from dragon.memory.blob import Blob
from dragon.memory.storage import Storage

__all__ = ["Backward", "Group", "NotLoweredError", "Step", "Steps", "WhenChanged", "when_changed"]

Step = Callable[[], object]
Backward = Callable[[], None]


class NotLoweredError(Exception):
    """The layer cannot be lowered with these settings: it runs its reference code."""


@dataclass(frozen=True)
class WhenChanged:
    """A step that is to run when one of `storages` may have changed. check: runs it unless none can have."""

    storages: Sequence[Storage]
    check: Step


def when_changed(storages: Sequence[Storage], step: Step) -> WhenChanged:
    """A step to run when one of these storages may have changed since it last did."""
    last: list[int] = []

    def check() -> None:
        now = [storage.epoch for storage in storages]
        if now != last or any(storage.held for storage in storages):
            last[:] = now
            step()

    return WhenChanged(storages, check)


@dataclass
class Steps:
    """The steps of one group of layers in one direction.

    needs: values that must be up to date before the steps run; makes: those that they compute; both by id. lazy:
    storages whose content is computed when they are read, with the place of the LazyCopy.

    Of a TEST pass also what runs before its first layer, since parameters and inputs alone decide it. ahead: what is
    computed from parameters. measured: bounds of inputs. bounds: steps that compute bounds, in order.
    """

    calls: list[Step] = field(default_factory=list)
    needs: dict[int, Value | HostValue] = field(default_factory=dict)
    makes: dict[int, Value | HostValue] = field(default_factory=dict)
    host_reads: list[Value] = field(default_factory=list)  # values that reference code reads on the host
    lazy: list[tuple[Storage, str]] = field(default_factory=list)
    ahead: list[WhenChanged] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)
    bounds: list[Step] = field(default_factory=list)


@cache
def _no_steps() -> Steps:
    """Of all groups without a backward."""
    return Steps()


@dataclass
class Group:
    """Layers that run together: one, or several that were fused."""

    first: int
    last: int
    note: str = ""
    forward: Steps = field(default_factory=Steps)
    backward: Steps = field(default_factory=_no_steps)
    build_backward: Backward | None = None
    watched: list[Blob] = field(default_factory=list)  # `backward` uses their data of forward
