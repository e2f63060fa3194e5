"""Offsets of buffers in one arena: those that are in use at the same time have no byte in common."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Generic, TypeVar

__all__ = ["ALIGNMENT", "Lifetime", "Placement", "peak_bytes", "place"]

B = TypeVar("B", bound=Hashable)
ALIGNMENT = 64  # bytes: a cache line and the widest vector


@dataclass(frozen=True)
class Lifetime:
    """`size` bytes that are in use from step `start` to step `end`, both included."""

    start: int
    end: int
    size: int

    @property
    def padded(self) -> int:
        """The size in bytes, rounded up to a multiple of ALIGNMENT."""
        return -(-self.size // ALIGNMENT) * ALIGNMENT

    def overlaps(self, other: Lifetime) -> bool:
        """Whether there is a step at which both are in use."""
        return self.start <= other.end and other.start <= self.end


class Placement(Generic[B]):
    """Buffers in one arena.

    lifetimes, offsets: by buffer, in the order given. size: bytes of the arena. survivors: buffers whose bytes no later
    buffer takes, so that they hold their value when the pass is over.
    """

    def __init__(self, lifetimes: Mapping[B, Lifetime]) -> None:
        self.lifetimes = dict(lifetimes)
        offsets, self.size = place(list(self.lifetimes.values()))
        self.offsets = dict(zip(self.lifetimes, offsets, strict=True))
        spans = [
            (one, offset, offset + one.padded) for one, offset in zip(self.lifetimes.values(), offsets, strict=True)
        ]
        late = sorted(((one.start, begin, end) for one, begin, end in spans), reverse=True)

        def is_overwritten(end: int, low: int, high: int) -> bool:
            later = takewhile(lambda span: span[0] > end, late)
            return any(begin < high and low < stop for _, begin, stop in later)

        self.survivors = frozenset(
            buffer
            for buffer, (one, begin, end) in zip(self.lifetimes, spans, strict=True)
            if not is_overwritten(one.end, begin, end)
        )

    @property
    def unshared(self) -> int:
        """Bytes that the buffers take when each has memory of its own."""
        return sum(one.padded for one in self.lifetimes.values())

    @property
    def peak(self) -> int:
        """The most bytes that are in use at one step."""
        return peak_bytes(list(self.lifetimes.values()))


# which lifetime is placed first
ORDERS: tuple[Callable[[Lifetime], tuple[int, ...]], ...] = (
    lambda one: (-one.padded, one.start),
    lambda one: (one.start - one.end, -one.padded, one.start),
    lambda one: (one.start, -one.padded),
)


def place(lifetimes: Sequence[Lifetime]) -> tuple[list[int], int]:
    """An offset for each lifetime, a multiple of ALIGNMENT, and the size of the arena in bytes.

    The lifetimes are placed one after another, the largest first. Each takes the narrowest gap that is left by those
    placed before it that overlap with it. If the arena is larger than `peak_bytes(lifetimes)`, the longest first and
    the earliest first are tried as well, and the smallest arena is taken.
    """
    least = peak_bytes(lifetimes)
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
    placed: list[tuple[int, int, int, int]] = []  # first and last step, first byte and the one after the last
    for i in sorted(range(len(lifetimes)), key=lambda i: order(lifetimes[i])):
        start, end, size = lifetimes[i].start, lifetimes[i].end, lifetimes[i].padded
        taken = sorted((begin, stop) for first, last, begin, stop in placed if start <= last and first <= end)
        offsets[i] = _narrowest_gap(taken, size)
        placed.append((start, end, offsets[i], offsets[i] + size))
    return offsets, max((stop for *_, stop in placed), default=0)


def _narrowest_gap(taken: Sequence[tuple[int, int]], size: int) -> int:
    """Where the narrowest gap of at least `size` bytes begins; the end of all spans if there is none.

    taken: (begin, end) of spans in bytes, sorted.
    """
    best, width, edge = None, 0, 0
    for begin, end in taken:
        gap = begin - edge
        if gap >= size and (best is None or gap < width):
            best, width = edge, gap
        edge = max(edge, end)
    return edge if best is None else best


def peak_bytes(lifetimes: Sequence[Lifetime]) -> int:
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
