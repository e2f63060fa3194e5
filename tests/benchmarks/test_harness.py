"""The harness of the benchmarks: turns, ratios of pairs, workers that fail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks._harness import BenchmarkError, Candidate, Series, Worker, interleave, machine, ratio, table

SMALL = "tests.benchmarks.small_worker"


@pytest.fixture
def worker() -> Iterator[Worker]:
    with Worker(SMALL) as started:
        yield started


def test_candidates_take_turns_and_every_second_round_goes_backwards() -> None:
    calls: list[str] = []

    def candidate(name: str, ms: float) -> Candidate:
        def run(count: int) -> float:
            calls.append(f"{name}{count}")
            return ms

        return Candidate(name, run=run)

    series = interleave([candidate("a", 20.0), candidate("b", 500.0)], rounds=3, block_ms=60)
    assert calls == ["a1", "a1", "b1", "b1", "a3", "b1", "b1", "a3", "a3", "b1"]
    assert series["a"].ms == [20.0] * 3
    assert series["b"].facts() == {"median_ms": 500.0, "min_ms": 500.0, "rounds_ms": [500.0] * 3}


def test_ratio_is_taken_inside_rounds() -> None:
    """A machine that gets four times slower half-way does not disturb the ratio of the pairs."""
    slow, fast = Series([20.0, 22.0, 80.0, 84.0, 80.0]), Series([10.0, 10.0, 40.0, 40.0, 50.0])
    assert ratio(slow, fast) == (2.0, 2.0)
    assert ratio(Series([30.0, 30.0]), Series([10.0, 15.0])) == (2.5, 3.0)


def test_table_aligns_numbers_to_the_right() -> None:
    assert table(["name", "ms"], [["a", 1.5], ["long name", 1234.5]]).splitlines() == [
        "| name      |   ms |",
        "| --------- | ---: |",
        "| a         |  1.5 |",
        "| long name | 1234 |",
    ]


def test_machine_names_processor_and_load() -> None:
    facts = machine()
    assert facts["cores"] >= 1
    assert len(facts["load"]) == 3


def test_worker_times_steps(worker: Worker) -> None:
    worker.ask("make", candidate="nap", seconds=0.003)
    assert worker.ask("time", candidate="nap", count=2) >= 3
    assert worker.ask("time", candidate="nap", count=2, clock="cpu") < 3
    assert worker.ask("peak") > 2**20
    worker.ask("drop")
    with pytest.raises(BenchmarkError, match=r"small_worker: time: KeyError: 'nap'"):
        worker.ask("time", candidate="nap", count=1)


def test_workers_errors_are_one_line_and_it_goes_on(worker: Worker) -> None:
    with pytest.raises(BenchmarkError, match=r"^tests.benchmarks.small_worker: fail: ValueError: two lines$"):
        worker.ask("fail")
    assert worker.ask("noise") == "heard"


def test_worker_that_ends_says_its_last_words(worker: Worker) -> None:
    with pytest.raises(BenchmarkError, match="ended while it was asked to end: the library gave up"):
        worker.ask("end")


def test_worker_that_takes_too_long_is_ended(worker: Worker) -> None:
    worker.ask("make", candidate="sleep", seconds=60)
    assert worker.is_running
    with pytest.raises(BenchmarkError, match=r"small_worker was ended: time took longer than 0 s"):
        worker.ask_within(0.2, "time", candidate="sleep", count=1)
    assert not worker.is_running


def test_no_round_but_the_first_begins_after_the_deadline() -> None:
    candidates = [Candidate("a", run=lambda count: 1.0), Candidate("b", run=lambda count: 2.0)]
    series = interleave(candidates, 5, deadline=0)
    assert {name: one.ms for name, one in series.items()} == {"a": [1.0], "b": [2.0]}
