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

    parameters: learned blobs and statistics. copies: of what lies with the host, mostly of parameters, in the layouts
    that primitives read. activations: all values between layers, gradients included; unshared: the
    same if each value had memory of its own. scratchpad: temporary memory of primitives.
    """

    parameters: int
    copies: int
    activations: int
    unshared: int
    scratchpad: int

    @property
    def bytes(self) -> int:
        """What the plan takes beside the parameters."""
        return self.copies + self.activations + self.scratchpad

    @staticmethod
    def of(plan: Plan) -> Planned:
        """The sizes of a plan."""
        storages = {id(storage): storage for _, storage in plan.parameters}
        arena = plan.arena
        inside = {id(buffer.origin) for buffer in arena.buffers} if arena is not None else set()
        copies: dict[int, Memory] = {}
        outside: dict[int, Memory] = {}
        for value in plan.builder.values:
            made = isinstance(value, Value)
            for memory in (value.memory, *value.derived.values()) if made else value.derived.values():
                if id(memory.origin) not in inside:
                    (outside if made else copies)[id(memory.origin)] = memory.origin
        alone = sum(memory.desc.size for memory in outside.values())
        return Planned(
            sum(storage.count * storage.dtype.itemsize for storage in storages.values()),
            sum(memory.desc.size for memory in copies.values()),
            alone + (arena.taken if arena is not None else 0),
            alone + (arena.total if arena is not None else 0),
            plan.builder.scratchpad,
        )

    def line(self) -> str:
        """One line for `dragon time`."""
        sizes = (self.parameters, self.copies, self.activations, self.unshared, self.scratchpad)
        parameters, copies, activations, unshared, scratchpad = (f"{size / 2**20:,.1f} MiB" for size in sizes)
        return (
            f"Planned memory: parameters {parameters}, their copies in other layouts {copies}, "
            f"activations {activations} ({unshared} without sharing), scratchpad {scratchpad}"
        )
