"""What ranks exchange while they train, on real processes of MPI: buckets, SyncBN, 16 bits, times."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dragon.data.synthetic import write_synthetic
from tests.parallel.test_train import BN, MPIEXEC, ROOT, environment, needs_mpi, solver

pytestmark = needs_mpi

SPLIT = (
    'layer { name: "bn" type: "BatchNorm" bottom: "c" top: "c" }'
    'layer { name: "s" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true } }'
)
SYNC = BN.replace('"BN"', '"SyncBN"')
STEPS = 6
Found = dict[str, NDArray[Any]]


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
    lmdb = write_synthetic(folder / "drawn", train=170, test=10).train
    results: dict[tuple[str, int], Found] = {}
    for ranks in (1, 2, 3):
        lines = []
        (folder / str(ranks)).mkdir()
        for job in jobs():
            if ranks == 3 and job["name"] not in ("buckets", "BN numpy"):
                continue
            place = folder / str(ranks) / job["name"]
            path = solver(
                place, lmdb, {1: 12, 2: 6, 3: 4}[ranks], job["middle"], display=0, snapshot=0, **job["fields"]
            )
            lines.append(json.dumps({**job, "solver": str(path), "steps": STEPS}))
        (folder / str(ranks) / "jobs").write_text("\n".join(lines))
        program = [sys.executable, "-m", "tests.parallel.trainings", str(folder / str(ranks) / "jobs")]
        done = subprocess.run(
            program if ranks == 1 else [str(MPIEXEC), "-n", str(ranks), *program],
            capture_output=True, text=True, timeout=500, check=False, cwd=ROOT,
            env=environment(),
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        for line in lines:
            name = json.loads(line)["name"]
            with np.load(folder / str(ranks) / f"{name}.npz") as file:
                results[name, ranks] = dict(file)
    timeline = json.loads((folder / "2" / "onednn.json").read_text())
    results["timeline", 2] = {"events": np.array(timeline["traceEvents"], object)}
    return results


def blobs(one: Found) -> list[NDArray[Any]]:
    return [one[f"blob{k}"] for k in range(sum(name.startswith("blob") for name in one))]


def distance(one: Found, other: Found) -> float:
    """The largest difference of a value, by the largest of its blob, or by 0.01: a bias before a BN is rounding."""
    pairs = zip(blobs(one), blobs(other), strict=True)
    return max(float(np.abs(a - b).max() / max(np.abs(b).max(), 0.01)) for a, b in pairs)


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
