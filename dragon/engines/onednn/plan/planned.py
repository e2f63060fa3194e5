"""The memory that a plan takes, as `dragon time` prints it."""

from __future__ import annotations

from dataclasses import dataclass

from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.plan.plan import Plan
from dragon.engines.onednn.plan.values import Value

__all__ = ["Planned"]


@dataclass(frozen=True)
class Planned:
    """Sizes in bytes.

    parameters: learned blobs and statistics. activations: all values between layers, gradients included; unshared: the
    same if each value had memory of its own. scratchpad: temporary memory of primitives.
    """

    parameters: int
    activations: int
    unshared: int
    scratchpad: int

    @property
    def bytes(self) -> int:
        """What the plan takes beside the parameters."""
        return self.activations + self.scratchpad

    @staticmethod
    def of(plan: Plan) -> Planned:
        """The sizes of a plan."""
        storages = {id(storage): storage for _, storage in plan.parameters}
        arena = plan.arena
        inside = {id(buffer.origin) for buffer in arena.buffers} if arena is not None else set()
        outside: dict[int, Memory] = {}
        for value in plan.builder.values:
            if isinstance(value, Value):
                for memory in (value.memory, *value.derived.values()):
                    if id(memory.origin) not in inside:
                        outside[id(memory.origin)] = memory.origin
        alone = sum(memory.desc.size for memory in outside.values())
        return Planned(
            sum(storage.count * storage.dtype.itemsize for storage in storages.values()),
            alone + (arena.taken if arena is not None else 0),
            alone + (arena.total if arena is not None else 0),
            plan.builder.scratchpad,
        )

    def line(self) -> str:
        """One line for `dragon time`."""
        sizes = (self.parameters, self.activations, self.unshared, self.scratchpad)
        parameters, activations, unshared, scratchpad = (f"{size / 2**20:,.1f} MiB" for size in sizes)
        return (
            f"Planned memory: parameters {parameters}, activations {activations} "
            f"({unshared} without sharing), scratchpad {scratchpad}"
        )
