"""The workers of MPI and Dask: several of them, one killed on the way, and the results of local ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from dragon.compare.executors import make_pool
from dragon.compare.pool import Pool
from dragon.errors import DataError, PrototxtError
from tests.compare.conftest import write_comparison
from tests.compare.jobs import jobs_of, series_of
from tests.parallel.test_train import MPIEXEC, needs_mpi
from tests.parallel.test_train import environment as rank_environment

needs_dask = pytest.mark.skipif(not find_spec("distributed"), reason="needs distributed")
needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")

FORMS = {
    "dask": ([], ["--executor", "dask", "--jobs", "2"]),
    "mpi": ([], ["--executor", "mpi", "--jobs", "2"]),
    "mpiexec": ([str(MPIEXEC), "-n", "3", sys.executable, "-m", "mpi4py.futures"], ["--executor", "mpi"]),
}


@pytest.fixture
def longer(comparison: Path) -> Path:
    """The small comparison, with one variant that trains for some seconds."""
    return _lengthened(comparison)


def _lengthened(comparison: Path) -> Path:
    text = comparison.read_text().partition("  - name: split")[0].replace("equal: [split, merged]\n", "")
    comparison.write_text(text + "seeds: [1, 2, 3]\niterations: 400\ntest_interval: 30\n")
    return comparison


@pytest.fixture(scope="module")
def local_series(tmp_path_factory: pytest.TempPathFactory, synthetic: Path) -> list[Any]:
    """What three seeds of `longer` give on local workers."""
    folder = tmp_path_factory.mktemp("local")
    Pool(2).run(
        jobs_of(_lengthened(write_comparison(folder, synthetic)), folder / "runs", 3), lambda job, message: None
    )
    return series_of(folder / "runs")


def start(longer: Path, output: Path, form: str) -> subprocess.Popen[str]:
    before, options = FORMS[form]
    environment = rank_environment(DRAGON_TEST_MARK=str(output))
    command = [*(before or [sys.executable]), "-m", "dragon", "compare", str(longer), "--engine", "numpy"]
    return subprocess.Popen(
        [*command, "--output", str(output), *options],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=longer.parent,
        start_new_session=True,
    )  # fmt: skip


def job_processes(mark: Path) -> list[int]:
    """The processes that do the jobs of the command with this mark in its environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            marked = f"DRAGON_TEST_MARK={mark}".encode() in (path / "environ").read_bytes().split(b"\0")
            command = (path / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if marked and b"dragon.compare.worker" in command:
            found.append(int(path.name))
    return sorted(found)


def wait_for(condition: Callable[[], Any], seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def begun(runs: Path) -> bool:
    """Whether two trainings are on their way, in folders of their own."""
    if len([path for path in runs.glob("*") if path.is_dir()]) < 2:
        return False
    time.sleep(0.2)
    return True


def needs_mpiexec() -> bool:
    """Whether the MPI library here starts no workers from a process that was started alone."""
    said = subprocess.check_output([sys.executable, "-c", "from mpi4py import MPI; print(MPI.Get_library_version())"])
    return b"MPICH" not in said


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize(
    "form", [pytest.param("dask", marks=needs_dask), *(pytest.param(f, marks=needs_mpi) for f in ("mpi", "mpiexec"))]
)
def test_one_of_several_workers_is_killed_and_the_results_are_those_of_local_ones(
    longer: Path, tmp_path: Path, form: str, local_series: list[Any]
) -> None:
    output = tmp_path / "remote"
    process = start(longer, output, form)
    if form == "mpi" and needs_mpiexec():
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 2
        assert "; start them: mpiexec -n N python -m mpi4py.futures -m dragon ..." in said
        return
    wait_for(lambda: process.poll() is not None or begun(output / "runs"))
    killed = job_processes(output)
    assert len(killed) == 2, process.communicate()[0]
    os.kill(killed[0], signal.SIGKILL)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    assert out.count("done in") == 4 or "\x1b[" in out  # the memory and three seeds; Open MPI gives ranks a terminal
    assert sorted(map(str, series_of(output / "runs"))) == sorted(map(str, local_series))


@pytest.mark.slow
@needs_proc
@needs_dask
def test_an_interrupt_stops_the_jobs_on_dask_with_a_snapshot(longer: Path, tmp_path: Path) -> None:
    longer.write_text(longer.read_text().replace("iterations: 400", "iterations: 8000"))
    output = tmp_path / "remote"
    process = start(longer, output, "dask")
    wait_for(lambda: process.poll() is not None or begun(output / "runs"))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    assert "Traceback" not in out
    wait_for(lambda: not job_processes(output))
    assert len(list((output / "runs").glob("*/*.solverstate*"))) == 2
    assert not series_of(output / "runs")


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two workers of Dask that are there already."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=None, silence_logs=50
    ) as found:
        yield found


@pytest.mark.slow
@needs_dask
def test_a_dask_worker_is_killed_with_its_job(
    longer: Path, tmp_path: Path, cluster: Any, local_series: list[Any]
) -> None:
    runs = tmp_path / "remote"
    jobs = jobs_of(longer, runs, 3)
    killed: list[int] = []

    def kill() -> None:
        wait_for(lambda: begun(runs))
        killed.append(cluster.workers[0].pid)
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with make_pool("dask", None, cluster.scheduler_address) as pool:
        assert pool.jobs == 2
        pool.run(jobs, lambda job, message: None)
    killer.join()
    assert series_of(runs) == local_series
    assert killed


@needs_dask
def test_an_error_on_dask_keeps_its_type(comparison: Path, tmp_path: Path, cluster: Any) -> None:
    jobs = jobs_of(comparison, tmp_path / "runs", 2)
    jobs[0].content["solver"] = jobs[0].content["solver"].replace('type: "ReLU"', 'type: "Relu"')
    with (
        make_pool("dask", 1, cluster.scheduler_address) as pool,
        pytest.raises(PrototxtError, match=r"^seed 1: .*Relu"),
    ):
        pool.run(jobs, lambda job, message: None)


@needs_dask
def test_a_job_that_kills_dask_workers_is_reported_as_such() -> None:
    from distributed import KilledWorker

    from dragon.compare.executors.dask import DaskEngine

    engine = DaskEngine(1, None)
    assert (
        engine.worker_death(KilledWorker("task", None, 3))
        == "the Dask workers that had it ended, 4 one after the other"
    )
    assert engine.worker_death(ValueError()) is None


@needs_dask
@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://a"])
def test_a_scheduler_that_is_not_there_is_one_line(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dragon.compare.executors.dask._CONNECT_S", 1)
    with pytest.raises(DataError, match=f"^--scheduler {address}: cannot be reached"), make_pool("dask", 1, address):
        pass


@pytest.mark.slow
@needs_mpi
def test_mpi_processes_that_would_all_run_the_experiment_are_an_error(longer: Path, tmp_path: Path) -> None:
    command = [str(MPIEXEC), "-n", "2", sys.executable, "-m", "dragon", "compare", str(longer), "--executor", "mpi"]
    environment = rank_environment()
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=120, check=False
    )
    assert done.returncode == 2
    assert "mpiexec -n N python -m mpi4py.futures -m dragon" in done.stderr
    assert "Traceback" not in done.stderr
