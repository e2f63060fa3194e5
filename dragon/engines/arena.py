"""Who needs memory when, and where in one arena that leaves it: intervals of time in, offsets in bytes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["ALIGNMENT", "Lifetime", "place", "together"]

ALIGNMENT = 64  # bytes: a cache line and the widest vector


@dataclass(frozen=True)
class Lifetime:
    """`size` bytes that are in use from step `start` to step `end`, both included."""

    start: int
    end: int
    size: int

    @property
    def padded(self) -> int:
        """Bytes up to where another one may begin."""
        return -(-self.size // ALIGNMENT) * ALIGNMENT

    def meets(self, other: Lifetime) -> bool:
        """Whether there is a step at which both are in use."""
        return self.start <= other.end and other.start <= self.end


# which lifetime is placed first
ORDERS: tuple[Callable[[Lifetime], tuple[int, ...]], ...] = (
    lambda one: (-one.padded, one.start),
    lambda one: (one.start - one.end, -one.padded, one.start),
    lambda one: (one.start, -one.padded),
)


def place(lifetimes: Sequence[Lifetime]) -> tuple[list[int], int]:
    """An offset for each lifetime, a multiple of ALIGNMENT, and the bytes of the arena that holds them.

    Each takes the narrowest gap between those placed before that are in use at the same time, the largest first; where
    that leaves holes, the longest first and the earliest first are tried as well. Lifetimes that meet have no byte
    in common. The size is at least `together(lifetimes)`, and mostly just that.
    """
    least = together(lifetimes)
    best: tuple[list[int], int] | None = None
    for order in ORDERS:
        found = _placed(lifetimes, order)
        if best is None or found[1] < best[1]:
            best = found
        if best[1] == least:
            break
    assert best is not None
    return best


def _placed(lifetimes: Sequence[Lifetime], order: Callable[[Lifetime], tuple[int, ...]]) -> tuple[list[int], int]:
    offsets = [0] * len(lifetimes)
    placed: list[int] = []
    for i in sorted(range(len(lifetimes)), key=lambda i: order(lifetimes[i])):
        one = lifetimes[i]
        taken = sorted((offsets[j], offsets[j] + lifetimes[j].padded) for j in placed if lifetimes[j].meets(one))
        offsets[i] = _narrowest(taken, one.padded)
        placed.append(i)
    return offsets, max((offset + one.padded for offset, one in zip(offsets, lifetimes, strict=True)), default=0)


def _narrowest(taken: Sequence[tuple[int, int]], size: int) -> int:
    """Where the narrowest gap of at least `size` bytes begins; behind everything if there is none."""
    best, width, edge = None, 0, 0
    for begin, end in taken:
        gap = begin - edge
        if gap >= size and (best is None or gap < width):
            best, width = edge, gap
        edge = max(edge, end)
    return edge if best is None else best


def together(lifetimes: Sequence[Lifetime]) -> int:
    """The most bytes that are in use at one step: no arena can be smaller."""
    changes: dict[int, int] = {}
    for one in lifetimes:
        changes[one.start] = changes.get(one.start, 0) + one.padded
        changes[one.end + 1] = changes.get(one.end + 1, 0) - one.padded
    most = now = 0
    for step in sorted(changes):
        now += changes[step]
        most = max(most, now)
    return most
