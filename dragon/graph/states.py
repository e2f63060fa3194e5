"""The states that the rules of a net tell apart: phases, levels and stages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import combinations, islice

from dragon.graph.definition import admits, run_state
from dragon.proto import dragon_pb2 as pb

__all__ = ["MOST_STATES", "is_wired", "present", "states"]

MOST_STATES = 128  # of a phase; n stages have 2^n combinations


def states(net: pb.NetParameter, phase: int) -> list[pb.NetState]:
    """States of a phase that differ in their layers, by the levels and stages that rules name; few stages come first.

    Of many combinations only the first MOST_STATES are looked at. Raises PrototxtError for a layer with include and
    exclude rules.
    """
    found: dict[tuple[int, ...], pb.NetState] = {}
    for level, stages in islice(_combinations(net), MOST_STATES):
        state = run_state(net.state, phase, level, stages)
        found.setdefault(tuple(present(net, state)), state)
    return list(found.values())


def present(net: pb.NetParameter, state: pb.NetState) -> list[int]:
    """Positions of the layers that a state admits."""
    return [index for index, layer in enumerate(net.layer) if admits(layer, state)]


def is_wired(layers: Iterable[pb.LayerParameter]) -> bool:
    """Whether layers find their bottoms, no top is made twice, and what is overwritten in place has no other reader."""
    newest: dict[str, int] = {}
    readers: Counter[tuple[str, int]] = Counter()
    overwritten: list[tuple[str, int]] = []
    for number, layer in enumerate(layers):
        if not newest.keys() >= set(layer.bottom):
            return False
        readers.update((name, newest[name]) for name in layer.bottom)
        for k, name in enumerate(layer.top):
            if name in newest:
                if layer.bottom[k : k + 1] != [name]:
                    return False
                overwritten.append((name, newest[name]))
            newest[name] = number
    return all(readers[value] == 1 for value in overwritten)


def _combinations(net: pb.NetParameter) -> Iterator[tuple[int, tuple[str, ...]]]:
    rules = [rule for layer in net.layer for rule in (*layer.include, *layer.exclude)]
    names = sorted({name for rule in rules for name in (*rule.stage, *rule.not_stage)})
    steps = {rule.min_level for rule in rules if rule.HasField("min_level")}
    steps |= {rule.max_level + 1 for rule in rules if rule.HasField("max_level")}
    levels = sorted({0, *steps, min(steps, default=0) - bool(steps)}, key=abs)
    for count in range(len(names) + 1):
        for stages in combinations(names, count):
            for level in levels:
                yield level, stages
