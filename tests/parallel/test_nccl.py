"""Gradients that go by NCCL between emulated GPUs, on processes of MPI."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragon.data.synthetic import write_synthetic
from tests.engines.cuda.conftest import ON_A_GPU
from tests.engines.cuda.emulation.compiler import find_compiler
from tests.parallel.jobs import SPLIT, SYNC, Found, distance, found_by
from tests.parallel.test_train import BN, needs_mpi, run, solver

pytestmark = [
    needs_mpi,
    pytest.mark.slow,
    pytest.mark.skipif(
        not ON_A_GPU and find_compiler() is None, reason="g++ is not installed: kernels cannot be emulated"
    ),
]
STEPS = 5
TIMEOUT = 900
ANY = {"bucket": 1}


def jobs() -> list[dict[str, Any]]:
    """name, what stands between convolution and dropout, settings of the ranks, settings of the solver, of the GPUs."""
    named: list[dict[str, Any]] = [
        {"name": "buckets", "settings": {**ANY, "timeline": True}}, {"name": "again", "settings": ANY},
        {"name": "one bucket", "settings": {"bucket": 1 << 40}},
        {"name": "after backward", "fields": {"layer_wise_reduce": "false"}},
        {"name": "delayed", "settings": ANY, "delayed": True},
        {"name": "two passes", "settings": ANY, "fields": {"iter_size": 2}},
        {"name": "CPU's update", "settings": ANY, "fields": {"type": '"LAMB"', "base_lr": 0.01}},
        {"name": "bf16", "settings": {**ANY, "wire": "bf16"}}, {"name": "fp16", "settings": {**ANY, "wire": "fp16"}},
        {"name": "SyncBN", "middle": SYNC, "settings": ANY},
        {"name": "SyncBN delayed", "middle": SYNC, "delayed": True},
        {"name": "split", "middle": SPLIT, "settings": {**ANY, "sync_bn": True}},
        {"name": "each", "middle": BN, "settings": ANY},
        {"name": "host", "settings": {**ANY, "reduce": "flat"}}, {"name": "missing", "settings": ANY, "nccl": False},
        {"name": "shared", "settings": ANY, "shared": True},
    ]  # fmt: skip
    return [{"engine": "cuda", "middle": "", "settings": {}, "fields": {}, **job} for job in named]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Found]:
    """What each job found, by its name and the number of ranks."""
    if ON_A_GPU:
        pytest.skip("emulates several GPUs")
    folder = tmp_path_factory.mktemp("nccl")
    on_three = ("buckets", "fp16", "SyncBN")
    return found_by("tests.parallel.gpu_trainings", jobs(), folder, STEPS, on_three, "buckets", TIMEOUT)


def counted(one: Found) -> dict[str, int]:
    counts: dict[str, int] = json.loads(one["counted"].item())
    return counts


BY_NCCL = [job["name"] for job in jobs() if job["name"] not in ("host", "missing", "shared")]


@pytest.mark.parametrize("name", [job["name"] for job in jobs()])
def test_all_ranks_end_with_the_same_bits(found: dict[tuple[str, int], Found], name: str) -> None:
    assert found[name, 2]["same"] == (name != "each")  # running statistics are averaged at snapshots


@pytest.mark.parametrize("name", [name for name in BY_NCCL if name not in ("bf16", "fp16", "each")])
def test_two_ranks_are_one_with_the_batch_of_both(found: dict[tuple[str, int], Found], name: str) -> None:
    assert distance(found[name, 2], found[name, 1]) < 1e-4
    np.testing.assert_allclose(found[name, 2]["losses"], found[name, 1]["losses"], rtol=1e-4)


@pytest.mark.parametrize("name", ["buckets", "SyncBN"])
def test_three_ranks(found: dict[tuple[str, int], Found], name: str) -> None:
    assert found[name, 3]["same"]
    assert distance(found[name, 3], found[name, 1]) < 1e-4


@pytest.mark.parametrize("name", ["again", "delayed"])
def test_a_run_like_the_first_gives_the_same_bits(found: dict[tuple[str, int], Found], name: str) -> None:
    """Also where the GPU runs as late as it may: then a missing wait between the streams changes values."""
    assert distance(found[name, 2], found["buckets", 2]) == 0
    np.testing.assert_array_equal(found[name, 2]["losses"], found["buckets", 2]["losses"])


@pytest.mark.parametrize("name", BY_NCCL)
def test_gradients_do_not_pass_through_the_host(found: dict[tuple[str, int], Found], name: str) -> None:
    counts, host = counted(found[name, 2]), counted(found["host", 2])
    assert counts["NCCL's allReduce"] >= STEPS
    assert counts["NCCL's broadcast"] == sum(key.startswith("blob") for key in found[name, 2])
    assert "NCCL's allReduce" not in host
    if name.startswith(("SyncBN", "split")):
        assert counts["to host"] == STEPS  # how many rows there are
    elif name != "CPU's update":
        assert "to host" not in counts
        assert host["to host"] >= 4 * STEPS


def test_each_bucket_is_a_group(found: dict[tuple[str, int], Found]) -> None:
    several, one, after = (found[name, 2] for name in ("buckets", "one bucket", "after backward"))
    assert (int(several["buckets"]), int(one["buckets"]), int(after["buckets"])) == (4, 1, 1)
    # one group gives the parameters
    assert counted(several)["groups of NCCL"] == 1 + 4 * STEPS
    assert counted(one)["groups of NCCL"] == 1 + STEPS


@pytest.mark.parametrize(("wire", "error"), [("bf16", 2**-8), ("fp16", 2**-11)])
def test_gradients_of_16_bits(found: dict[tuple[str, int], Found], wire: str, error: float) -> None:
    for ranks in (2, 3) if wire == "fp16" else (2,):
        off = distance(found[wire, ranks], found["buckets", ranks])
        assert error / 100 < off < 10 * STEPS * error
        assert found[wire, ranks]["same"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("buckets", "are sent by NCCL 2.27.3 while backward runs, in 4 buckets"),
        ("after backward", "are sent by NCCL 2.27.3 after backward, in 1 bucket"),
        ("bf16", "are sent by NCCL 2.27.3 as bf16 while backward runs"),
        ("host", "are sent by MPI through the host while backward runs"),
        ("missing", "by MPI through the host (CuPy cannot load NCCL (No module named 'cupy.cuda.nccl'"),
        ("missing", 'pip install "dragon-caffe[nccl13]") while'),
        ("shared", "by MPI through the host (ranks 0 and 1 share a GPU, which NCCL does not allow) while"),
    ],
)
def test_the_log_says_how_gradients_go(found: dict[tuple[str, int], Found], name: str, said: str) -> None:
    line = found[name, 2]["said"].item()
    assert said in line
    assert "\n" not in line


def test_without_nccl_the_sums_are_those_of_mpi(found: dict[tuple[str, int], Found]) -> None:
    for name in ("missing", "shared"):
        assert distance(found[name, 2], found["host", 2]) == 0
        assert "NCCL's allReduce" not in counted(found[name, 2])
    assert distance(found["host", 2], found["buckets", 2]) < 1e-4


def test_times(found: dict[tuple[str, int], Found]) -> None:
    phases = found["buckets", 2]["phases"]
    assert phases.shape == (2, 3)
    assert (phases >= 0).all()
    events = [e for e in found["timeline", 2]["events"] if e["ph"] == "X"]
    for rank in (0, 1):
        sent = [e for e in events if e["pid"] == rank and e["tid"] == 1]
        assert len(sent) == 4 * STEPS
        assert all(a["ts"] <= b["ts"] and a["dur"] >= 0 for a, b in pairwise(sent))


@pytest.mark.skipif(ON_A_GPU, reason="looks into the emulation")
def test_the_stand_in_refuses_what_nccl_does() -> None:
    assert run(2, "-m", "tests.parallel.nccl_refusals", timeout=TIMEOUT).count("all refused") == 2


def test_one_device(tmp_path: Path) -> None:
    """The only test that one GPU is enough for: the sums of a single rank are its own gradients."""
    lmdb = write_synthetic(tmp_path / "drawn", train=170, test=10).train
    named: list[dict[str, Any]] = [
        {"name": "plain"},
        *({"name": wire, "exchange": True, "settings": {"reduce": "nccl", "bucket": 1, "wire": wire, "timeline": True}}
          for wire in ("fp32", "bf16", "fp16")),
    ]  # fmt: skip
    lines = []
    for job in named:
        path = solver(tmp_path / job["name"], lmdb, 12, BN, display=0, snapshot=0)
        lines.append(
            json.dumps({"engine": "cuda", "middle": BN, "settings": {}, "solver": str(path), "steps": STEPS, **job})
        )
    (tmp_path / "jobs").write_text("\n".join(lines))
    run(1, "-m", "tests.parallel.gpu_trainings", tmp_path / "jobs", timeout=TIMEOUT)
    made = {}
    for job in named:
        with np.load(tmp_path / f"{job['name']}.npz") as file:
            made[job["name"]] = dict(file)
    assert "by NCCL" in made["fp32"]["said"].item()
    assert distance(made["fp32"], made["plain"]) < 1e-5
    for wire, error in (("bf16", 2**-8), ("fp16", 2**-11)):
        assert error / 100 < distance(made[wire], made["plain"]) < 10 * STEPS * error


def test_a_graph_with_nccl_inside() -> None:
    """Of one rank on one GPU: kernels before and behind the sum, replayed with other values."""
    assert "replayed" in run(1, "-m", "tests.parallel.nccl_graph", timeout=TIMEOUT)
