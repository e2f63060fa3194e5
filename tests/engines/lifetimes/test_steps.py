"""What the steps of a pass say about its buffers: checked on short passes, and on random ones by running them."""

from __future__ import annotations

from collections.abc import Iterable, Set

import numpy as np
import pytest

from dragon.engines.lifetimes.placing import Lifetime, Placement
from dragon.engines.lifetimes.steps import Step, StepGraph


def graph(*steps: str, pinned: Iterable[str] = (), replaced: Iterable[str] = ()) -> StepGraph[str]:
    """Steps written as "ab>c": reads a and b, writes c."""
    parts = [step.split(">") for step in steps]
    return StepGraph([Step(reads, writes) for reads, writes in parts], frozenset(pinned), frozenset(replaced))


def test_lifetimes_reach_from_the_first_write_to_the_last_use() -> None:
    g = graph("x>a", "a>b", "b>b", "ab>c", "c>d")
    assert [g.lifetime(name, 8) for name in g.written] == [
        Lifetime(0, 3, 8),
        Lifetime(1, 3, 8),
        Lifetime(3, 4, 8),
        Lifetime(4, 4, 8),
    ]


def test_what_is_read_before_it_is_written_is_a_source() -> None:
    g = graph("x>a", "aw>b")
    assert g.recomputable == set("ab")
    assert g.sources == set("xw")


def test_what_is_computed_from_a_lost_value_keeps_its_memory() -> None:
    g = graph("x>a", "aw>b", "b>x")
    assert g.recomputable == {"b"}
    assert g.sources == set("aw")


def test_a_step_in_place_on_a_source_cannot_be_repeated() -> None:
    g = graph("x>x", "x>a", "a>b")
    assert g.recomputable == set("ab")  # from the x that the pass leaves
    assert g.sources == {"x"}
    assert graph("x>a", "x>x", "a>b").recomputable == {"b"}  # a keeps its memory, and b can be computed from it


def test_what_cannot_be_recomputed_takes_along_what_the_same_steps_write() -> None:
    assert graph(">ab", "a>c", pinned="b").recomputable == {"c"}
    assert graph(">a", "a>b", "y>ac", "c>d", "x>y").recomputable == {"d"}


def test_what_something_else_may_replace() -> None:
    assert graph("x>a", "y>b", pinned="xy", replaced="x").recomputable == {"b"}


def test_steps_to_a_value_go_back_to_the_sources() -> None:
    g = graph("x>a", "a>b", "x>c", "bc>d", "d>e")
    assert g.steps_to("d") == [0, 1, 2, 3]
    assert g.steps_to("d", {"b"}) == [2, 3]
    assert g.steps_to("a", {"a"}) == [0]


def test_a_buffer_that_is_written_again_is_brought_to_its_final_value() -> None:
    g = graph("x>a", "a>b", "a>a", "a>c")
    assert g.steps_to("b") == [0, 1, 2]
    assert g.steps_to("b", {"a"}) == [0, 1, 2], "b is made of what a was before step 2"
    assert g.steps_to("c", {"a"}) == [3]


def test_a_value_in_the_middle_of_a_pass_needs_no_later_writes() -> None:
    g = graph("x>a", "a>b", "ab>a", "a>c", "ac>a")
    assert g.steps_before("a", 2) == [0]
    assert g.steps_before("a", 4) == [0, 1, 2]
    assert g.steps_before("c", 5) == [0, 1, 2, 3, 4]
    assert g.steps_before("c", 4) == [0, 1, 2, 3]


class Memory:
    """The values of buffers; one in the arena is lost when another one that has some of its bytes is written."""

    def __init__(self, steps: list[Step[int]], placement: Placement[int] | None, values: dict[int, int]) -> None:
        self.steps, self.placement = steps, placement
        self.values = dict(values)
        self.own: set[int] = set()

    def run(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            step = self.steps[number]
            read = tuple(self.values[b] for b in step.reads)
            for position, buffer in enumerate(step.writes):
                for other in self._overlapping(buffer):
                    self.values[other] = -1
                self.values[buffer] = hash((number, position, read)) & 0xFFFFFFFF

    def _overlapping(self, buffer: int) -> list[int]:
        if self.placement is None or buffer not in self.placement.offsets or buffer in self.own:
            return []
        begin = self.placement.offsets[buffer]
        end = begin + self.placement.lifetimes[buffer].padded
        return [
            b
            for b, at in self.placement.offsets.items()
            if b not in self.own and b != buffer and at < end and begin < at + self.placement.lifetimes[b].padded
        ]


def drawn(random: np.random.Generator) -> tuple[list[Step[int]], Set[int]]:
    count = int(random.integers(4, 14))
    made: list[int] = [100, 101]  # two inputs
    steps = []
    for number in range(count):
        reads = sorted({int(b) for b in random.choice(made, min(len(made), int(random.integers(0, 3))))})
        in_place = [b for b in reads if random.random() < 0.2]
        again = [int(random.choice(made))] if random.random() < 0.1 else []
        writes = sorted({*(in_place or [number]), *again, *([50 + number] if random.random() < 0.2 else [])})
        steps.append(Step(reads, writes))
        made += writes
    pinned = {b for b in made if random.random() < 0.1}
    return steps, pinned


@pytest.mark.parametrize("seed", range(200))
def test_every_overwritten_value_comes_back(seed: int) -> None:
    random = np.random.default_rng(seed)
    steps, pinned = drawn(random)
    g = StepGraph(steps, pinned)
    outputs = {b for b in g.recomputable if random.random() < 0.15}
    inside = [b for b in g.written if b in g.recomputable and b not in outputs]
    placement = Placement({b: g.lifetime(b, int(random.integers(1, 4)) * 64) for b in inside})
    inputs = {100: 7, 101: 9}
    apart, shared = Memory(steps, None, inputs), Memory(steps, placement, inputs)
    apart.run(range(len(steps)))
    shared.run(range(len(steps)))
    for buffer, value in apart.values.items():
        if buffer not in placement.offsets or buffer in placement.survivors:
            assert shared.values[buffer] == value, "it has bytes of its own at the end"
    for buffer in (int(b) for b in random.permutation(inside)):
        present = frozenset(shared.own | outputs) if random.random() < 0.7 else frozenset()
        shared.own.add(buffer)
        shared.run(g.steps_to(buffer, present))
        for known in shared.own | (apart.values.keys() - placement.offsets.keys()):
            assert shared.values[known] == apart.values[known]


def test_random_passes_have_something_to_share() -> None:
    found = [StepGraph(*drawn(np.random.default_rng(seed))) for seed in range(200)]
    assert sum(len(g.recomputable) for g in found) > 0.4 * sum(len(g.written) for g in found)
