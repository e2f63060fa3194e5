"""What a rank takes of its machine."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from dragon.engines.onednn.library import threads as thread_settings
from dragon.errors import UsageError
from dragon.parallel.ranks import Ranks, started_count, started_ranks
from dragon.tools.common import engine_options
from dragon.tools.common.engine_options import EngineChoice
from dragon.tools.common.ranks import share_machine
from tests.imports import ROOT


class Here(Ranks):
    def __init__(self, place: int, count: int, sharing: int | None = None) -> None:
        self.place = place, count, count if sharing is None else sharing

    def here(self, cores: frozenset[int] = frozenset()) -> tuple[int, int, int]:
        return self.place


def test_a_rank_takes_its_gpu_and_its_part_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(thread_settings, "usable_cores", lambda: 9)
    taken = [share_machine(EngineChoice(gpu="2,0,5"), Here(k, 3)) for k in range(3)]
    assert [(choice.gpu, choice.threads) for choice in taken] == [("2", 3), ("0", 3), ("5", 3)]
    assert share_machine(EngineChoice(gpu="1", threads=4), Here(1, 20)) == EngineChoice(gpu="1", threads=4)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert share_machine(EngineChoice(), Here(0, 2)).threads is None


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system has no affinity of processes")
@pytest.mark.parametrize(("usable", "threads"), [(6, 6), (4, 1)])
def test_cores_that_srun_has_given_a_rank_are_all_its_own(
    monkeypatch: pytest.MonkeyPatch, usable: int, threads: int
) -> None:
    """Unless the quota of a container, here of 4 cores, is less: it is that of all ranks."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)))
    monkeypatch.setattr(thread_settings, "usable_cores", lambda: usable)
    assert share_machine(EngineChoice(), Here(2, 4, sharing=1)).threads == threads


@pytest.mark.parametrize("count", [1, 3])
def test_all_gpus_of_a_machine(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(engine_options, "gpu_count", lambda: count)
    assert [share_machine(EngineChoice(gpu="all", threads=1), Here(k, count)).gpu for k in range(count)] == [
        str(k) for k in range(count)
    ]
    with pytest.raises(UsageError, match=f"--gpu all names {count} GPUs for 4 ranks on a machine"):
        share_machine(EngineChoice(gpu="all"), Here(0, 4))


def test_more_ranks_than_gpus() -> None:
    with pytest.raises(UsageError, match="--gpu 0,1 names 2 GPUs for 3 ranks on a machine"):
        share_machine(EngineChoice(gpu="0,1"), Here(0, 3))


@pytest.mark.parametrize("environment", [{}, {"PMI_SIZE": "1"}, {"SLURM_STEP_NUM_TASKS": ""}])
def test_a_process_that_was_started_alone(environment: dict[str, str]) -> None:
    assert started_ranks(environment) is None


def test_what_srun_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own PMI, of which the MPI library may know nothing: then each process would train alone."""
    environment = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "2"}
    assert started_count(environment) == 4
    world = SimpleNamespace(Get_size=lambda: 1, Get_rank=lambda: 0)
    monkeypatch.setattr("dragon.parallel.ranks.mpi_module", lambda what: SimpleNamespace(COMM_WORLD=world))
    with pytest.raises(UsageError, match=r"^4 processes were started, but MPI sees one: .*`srun --mpi=list`"):
        started_ranks(environment)


def test_one_process_loads_nothing_that_only_several_need() -> None:
    code = "import dragon.tools.train, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = {name.removeprefix("dragon.parallel.") for name in done.stdout.split() if "dragon.parallel." in name}
    assert "ranks" in loaded
    assert loaded & {"exchange", "by_mpi", "by_nccl", "nccl", "buckets", "sender", "timeline", "launcher"} == set()


def test_without_mpi4py(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", None)
    with pytest.raises(UsageError, match=r"several ranks needs a package: pip install .*dragon-caffe\[mpi\]"):
        started_ranks({"OMPI_COMM_WORLD_SIZE": "2"})
