"""Program: the steps of consecutive groups of a plan as one list."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dragon.engines.onednn.plan.steps import Steps
from dragon.engines.onednn.plan.values import HostValue, LazyCopy, Value
from dragon.memory.storage import Storage

__all__ = ["Program"]


class Program:
    """The steps of consecutive groups as one list, and the values to fetch before they run.

    before: a program that runs before this one; the values that it makes or fetches need not be fetched again.
    """

    def __init__(self, parts: Sequence[Steps], before: Program | None = None) -> None:
        self.fetches: list[Value | HostValue] = []
        self.calls: list[Callable[[], object]] = []
        self.made: set[int] = set(before.made) if before is not None else set()
        self.fetched: set[int] = set(before.fetched) if before is not None else set()
        for steps in parts:
            for key, value in steps.needs.items():
                if key not in self.made and key not in self.fetched:
                    self.fetched.add(key)
                    self.fetches.append(value)
            self.made.update(steps.makes)
            self.calls += steps.calls
            for value in steps.makes.values():
                if isinstance(value, Value):
                    self.calls.append(value.mark_newest)
            self.calls += [_mark_lazy_copy(storage, place) for storage, place in steps.lazy]

    def run(self) -> None:
        """Fetch the values that are read, then run all steps."""
        for value in self.fetches:  # first what the plan's layers compute, from other values than those of this run
            if isinstance(value.storage.newest_copy(), LazyCopy):
                value.storage.read()
        for value in self.fetches:
            value.fetch()
        for call in self.calls:
            call()


def _mark_lazy_copy(storage: Storage, place: str) -> Callable[[], None]:
    return lambda: storage.wrote(place)
