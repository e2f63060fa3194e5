"""What ranks exchange while they train, on real processes of MPI: buckets, SyncBN, 16 bits, times."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tests.parallel.jobs import SPLIT, SYNC, Found, distance, found_by
from tests.parallel.test_train import BN, needs_mpi

pytestmark = needs_mpi

STEPS = 6


def jobs() -> list[dict[str, Any]]:
    """name, what stands between convolution and dropout, settings of the ranks, settings of the solver."""
    plain: list[dict[str, Any]] = [
        {"name": "one bucket", "settings": {"bucket": 1 << 40}},
        {"name": "buckets", "settings": {"bucket": 1}},
        {"name": "again", "settings": {"bucket": 1}},
        {"name": "after backward", "fields": {"layer_wise_reduce": "false"}},
        {"name": "onednn", "engine": "onednn", "settings": {"bucket": 1, "timeline": True}},
        {"name": "two passes", "fields": {"iter_size": 2}, "settings": {"bucket": 1}},
        *(
            {"name": f"{wire}{more}", "settings": {"wire": wire, "bucket": bucket}}
            for wire in ("bf16", "fp16")
            for more, bucket in (("", 1), (" in one", 1 << 40))
        ),
        {"name": "LAMB", "fields": {"type": '"LAMB"', "base_lr": 0.01}},
    ]
    norms: list[dict[str, Any]] = [
        {"name": f"{name} {engine}", "middle": middle, "engine": engine, "settings": settings}
        for engine in ("numpy", "onednn")
        for name, middle, settings in (
            ("BN", BN, {"sync_bn": True}), ("split", SPLIT, {"sync_bn": True}), ("SyncBN", SYNC, {}),
            ("each", BN, {}),
        )
    ]  # fmt: skip
    return [{"engine": "numpy", "middle": "", "settings": {}, "fields": {}, **job} for job in [*plain, *norms]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Found]:
    """What each job found, by its name and the number of ranks."""
    folder = tmp_path_factory.mktemp("exchange")
    return found_by("tests.parallel.trainings", jobs(), folder, STEPS, ("buckets", "BN numpy"), "onednn", timeout=500)


@pytest.mark.parametrize("name", [job["name"] for job in jobs()])
def test_all_ranks_end_with_the_same_bits(found: dict[tuple[str, int], Found], name: str) -> None:
    assert found[name, 2]["same"] == (not name.startswith("each"))  # running statistics are averaged at snapshots


@pytest.mark.parametrize("name", ["one bucket", "buckets", "after backward", "onednn", "two passes", "LAMB"])
def test_two_ranks_are_one_with_the_batch_of_both(found: dict[tuple[str, int], Found], name: str) -> None:
    assert distance(found[name, 2], found[name, 1]) < 2e-5
    np.testing.assert_allclose(found[name, 2]["losses"], found[name, 1]["losses"], rtol=1e-5)


def test_buckets_change_no_bit(found: dict[tuple[str, int], Found]) -> None:
    counts = [int(found[name, 2]["buckets"]) for name in ("one bucket", "buckets", "again", "after backward")]
    assert counts == [1, 4, 4, 1]
    for name in ("buckets", "again", "after backward"):
        assert distance(found[name, 2], found["one bucket", 2]) == 0
        np.testing.assert_array_equal(found[name, 2]["losses"], found["one bucket", 2]["losses"])


def test_three_ranks(found: dict[tuple[str, int], Found]) -> None:
    for name in ("buckets", "BN numpy"):
        assert found[name, 3]["same"]
        assert distance(found[name, 3], found[name, 1]) < 2e-5


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
@pytest.mark.parametrize("name", ["BN", "split", "SyncBN"])
def test_normalisation_over_all_rows(found: dict[tuple[str, int], Found], name: str, engine: str) -> None:
    assert distance(found[f"{name} {engine}", 2], found[f"{name} {engine}", 1]) < 1e-4
    assert distance(found[f"each {engine}", 2], found[f"each {engine}", 1]) > 1e-2


@pytest.mark.parametrize(("wire", "error"), [("bf16", 2**-8), ("fp16", 2**-11)])
def test_gradients_of_16_bits(found: dict[tuple[str, int], Found], wire: str, error: float) -> None:
    """Each step adds an error of at most `error`, relative to the gradients, which momentum lets live for 10 steps."""
    off = distance(found[wire, 2], found["buckets", 2])
    assert error / 100 < off < 10 * STEPS * error
    assert distance(found[wire, 2], found[f"{wire} in one", 2]) == 0  # buckets change no bit here either
    np.testing.assert_array_equal(
        found[wire, 2]["losses"][0], found["buckets", 2]["losses"][0]
    )  # losses are not rounded


def test_times_by_phase(found: dict[tuple[str, int], Found]) -> None:
    phases = found["buckets", 2]["phases"]
    assert phases.shape == (2, 3)
    assert (phases >= 0).all()
    assert (phases.sum(axis=1) > 0).all()
    assert (phases[:, 1] > 0).all()


def test_the_timeline_of_all_ranks(found: dict[tuple[str, int], Found]) -> None:
    events = list(found["timeline", 2]["events"])
    named = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert named == {0: "rank 0", 1: "rank 1"}
    for rank in (0, 1):
        spans = [e for e in events if e["ph"] == "X" and e["pid"] == rank]
        computed, sent = ([e for e in spans if e["tid"] == row] for row in (0, 1))
        assert len(sent) == 4 * STEPS
        counts = {name: sum(e["name"].startswith(name) for e in computed) for name in ("forward", "backward", "wait")}
        assert counts == {"forward": STEPS, "backward": 3 * STEPS, "wait": STEPS}
        for row in (computed, sent):
            for before, after in pairwise(row):
                assert before["ts"] + before["dur"] <= after["ts"] + 0.2  # microseconds, rounded
