"""A definition whose layers come, go and read other values, with its graphs, which are rarely built anew."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TypeVar

from dragon.proto import dragon_pb2 as pb
from dragon.surgery.normalisations import PhaseGraphs
from dragon.surgery.values import Readers, find_readers, rename_readers

__all__ = ["Rewiring"]

T = TypeVar("T")


class Rewiring:
    """Changes of a definition one after another, each of which asks for the graphs as the changes before left them.

    Positions are those of the definition as it was given, and new layers stand at its end, until `finish`. Building the
    graphs takes as long as the net is deep. So they are kept until a question is about a value whose readers changed.
    """

    def __init__(self, net: pb.NetParameter, graphs: PhaseGraphs | None = None) -> None:
        self.net = net
        self._order = list(range(len(net.layer)))
        self._old = len(net.layer)
        self._graphs = graphs
        self._changed: set[tuple[int, str]] = set()  # values, by maker and name, that got or lost readers since
        self._moved: set[int] = set()  # layers that read something else since

    @property
    def graphs(self) -> PhaseGraphs:
        """The graphs as they are now, but for values that changed since they were built."""
        if self._graphs is None:
            self._graphs = PhaseGraphs(self.net, self._order)
            self._changed.clear()
            self._moved.clear()
        return self._graphs

    def readers(self, makers: Collection[int], name: str, through: bool) -> Readers:
        """See `dragon.surgery.values.find_readers`."""

        def ask(graphs: PhaseGraphs) -> tuple[Readers, bool]:
            found = find_readers(graphs, makers, name, through)
            return found, any((index, name) in self._changed for index in {*makers, *found.found})

        return self._fresh(ask)

    def makers(self, indices: Collection[int]) -> tuple[set[int | None], bool]:
        """The layers that make the first bottoms of layers, None for inputs; whether none has another reader."""

        def ask(graphs: PhaseGraphs) -> tuple[tuple[set[int | None], bool], bool]:
            pairs = [(graph, index, graph.maker(index)) for index in indices for graph in graphs.of(index)]
            alone = all(maker is not None and graph.reader(maker) == index for graph, index, maker in pairs)
            values = {(maker, self.net.layer[index].bottom[0]) for _, index, maker in pairs if maker is not None}
            met = {index for _, *both in pairs for index in both if index is not None}
            return ({maker for *_, maker in pairs}, alone), not (
                self._changed.isdisjoint(values) and self._moved.isdisjoint(met)
            )

        return self._fresh(ask)

    def _fresh(self, ask: Callable[[PhaseGraphs], tuple[T, bool]]) -> T:
        """The answer to a question, which says of it whether it is about something that changed."""
        answer, stale = ask(self.graphs)
        if (self._changed or self._moved) and (stale or not self.graphs.all_wired):  # a change may wire a state
            self._graphs = None
            answer, _ = ask(self.graphs)
        return answer

    def rename(self, readers: Collection[int], makers: Iterable[int | None], old: str, new: str, through: bool) -> None:
        """See `dragon.surgery.values.rename_readers`. makers: of both values; None for an input of the net."""
        rename_readers(self.net, readers, old, new, through)
        self._touch([*readers, *makers], old, new)
        self._moved.update(readers)

    def take_out(self, indices: Collection[int], makers: Iterable[int | None], *names: str) -> None:
        """Take layers out. makers, names: of the values that they read and made."""
        self._order = [index for index in self._order if index not in indices]
        self._touch([*indices, *makers], *names)
        self._moved.update(indices)

    def put(self, spot: int, layers: Collection[pb.LayerParameter], makers: Iterable[int], value: str) -> None:
        """Put layers, which read a value that one of `makers` made, behind layer `spot`."""
        at = self._order.index(spot) + 1
        self._order[at:at] = range(len(self.net.layer), len(self.net.layer) + len(layers))
        self.net.layer.extend(layers)
        self._touch(makers, value)

    def restart(self) -> None:
        """Build the graphs anew for the next question, after changes that are made elsewhere."""
        self._graphs = None

    def _touch(self, makers: Iterable[int | None], *names: str) -> None:
        self._changed.update((index, name) for index in makers if index is not None for name in names)

    def finish(self) -> None:
        """Let the definition have the layers in their order."""
        added = pb.NetParameter(layer=self.net.layer[self._old :])
        stay = set(self._order)
        for index in reversed(range(len(self.net.layer))):
            if index >= self._old or index not in stay:
                del self.net.layer[index]
        for at, index in enumerate(self._order):
            if index >= self._old:
                self.net.layer.insert(at, added.layer[index - self._old])
        self._graphs, self._order, self._old = None, list(range(len(self.net.layer))), len(self.net.layer)
