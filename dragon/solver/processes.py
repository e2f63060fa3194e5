"""The processes of a training: one alone, or ranks that exchange gradients, losses and requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # several ranks need the last two
    from dragon.graph.net import Net
    from dragon.parallel.exchange import Exchange, Phases
    from dragon.parallel.ranks import Ranks

__all__ = ["Processes", "SeveralProcesses"]


class Processes:
    """What a solver needs of the processes that train `net`: here of one alone. requests: made to this process."""

    exchange: Exchange | None = None
    find_nonfinite: Callable[[], str | None] | None = None  # in place of Net.first_nonfinite

    def __init__(self, net: Net) -> None:
        self.net = net
        self.requests: set[str] = set()

    @property
    def asked(self) -> set[str]:
        """The requests that hold now: those that all processes know of."""
        return self.requests

    def forward_backward(self, iter_size: int) -> float:
        """Run forward and backward `iter_size` times, with the gradients added up, and return the mean loss."""
        losses = [self.net.forward_backward() for _ in range(iter_size)]  # a generator hides StopIteration
        return sum(losses) / iter_size

    def apart(self) -> AbstractContextManager[None]:
        """A context manager for a test or a snapshot, which belongs to no iteration."""
        return nullcontext()

    def forward(self) -> float:
        """Run forward, and return the mean loss of all processes."""
        return self.net.run_forward()

    def phases(self) -> list[Phases]:
        """Where the time of each rank has gone since the last call; empty for one process."""
        return []

    def close(self) -> None:
        """End the threads that exchange."""


class SeveralProcesses(Processes):
    """Ranks, each with its part of a batch; all of them have to call each method.

    overlap, wire, reduce, timeline: see Exchange. Raises UsageError if the ranks have different nets, or cannot add up
    as `reduce` says.
    """

    exchange: Exchange

    def __init__(self, net: Net, ranks: Ranks, *, overlap: bool, wire: str, reduce: str, timeline: bool) -> None:
        from dragon.parallel.exchange import Exchange  # which one process does not need

        super().__init__(net)
        self._agreed: set[str] = set()  # what any rank was asked to do
        ranks.add_up_by(reduce)
        self.exchange = Exchange(net, ranks, overlap=overlap, wire=wire, reduce=reduce, timeline=timeline)
        self.find_nonfinite = self.exchange.first_nonfinite
        self.exchange.start()

    @property
    def asked(self) -> set[str]:
        return self._agreed

    def forward_backward(self, iter_size: int) -> float:
        loss, self._agreed = self.exchange.run(iter_size, self.requests)
        self.requests -= self._agreed
        return loss

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Average the running statistics first, and wait for rank 0 at the end."""
        with self.exchange.outside():
            self.exchange.statistics()
            yield

    def forward(self) -> float:
        return self.exchange.forward()

    def phases(self) -> list[Phases]:
        return self.exchange.phases()

    def close(self) -> None:
        self.exchange.close()
