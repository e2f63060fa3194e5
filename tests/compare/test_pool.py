"""Worker processes: one serves many jobs, and one that dies takes only its own job along."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from dragon.compare.jobs import Job
from dragon.compare.pool import Pool
from dragon.compare.process import WorkerProcess
from dragon.errors import DataError, DragonError
from dragon.files.lock import locked
from tests.compare.jobs import jobs_of, series_of


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The worker of each job, in the order in which jobs were given."""
    given: list[Any] = []
    give = WorkerProcess.give

    def remember(worker: Any, job: Job) -> None:
        given.append(worker)
        give(worker, job)

    monkeypatch.setattr(WorkerProcess, "give", remember)
    return given


def test_a_worker_serves_many_jobs_with_the_results_of_fresh_ones(
    comparison: Path, tmp_path: Path, workers: list[Any]
) -> None:
    Pool(1).run(jobs_of(comparison, tmp_path / "one", 3), lambda job, message: None)
    assert len(workers) == 3
    assert len({id(worker) for worker in workers}) == 1
    assert workers[0].process.poll() == 0
    fresh = [Job(job.name, job.result, job.content, fresh=True) for job in jobs_of(comparison, tmp_path / "own", 3)]
    Pool(1).run(fresh, lambda job, message: None)
    assert len({id(worker) for worker in workers[3:]}) == 3
    assert series_of(tmp_path / "one") == series_of(tmp_path / "own")


def test_the_job_of_a_killed_worker_goes_on_in_another(comparison: Path, tmp_path: Path, workers: list[Any]) -> None:
    comparison.write_text(comparison.read_text().replace("name: A", "iterations: 100\nname: A"))
    Pool(1).run(jobs_of(comparison, tmp_path / "whole", 1), lambda job, message: None)

    def kill(job: Job, message: dict[str, Any]) -> None:
        if message.get("test") and message["iter"] >= 20 and len(workers) == 2:
            workers[-1].process.kill()

    Pool(1).run(jobs_of(comparison, tmp_path / "killed", 1), kill)
    assert len(workers) == 3
    assert workers[1].process.poll() == -9
    assert series_of(tmp_path / "whole") == series_of(tmp_path / "killed")


def test_a_job_whose_workers_die_is_reported_after_the_others(
    comparison: Path, tmp_path: Path, workers: list[Any]
) -> None:
    comparison.write_text(comparison.read_text().replace("name: A", "iterations: 200\ntest_interval: 5\nname: A"))

    def kill(job: Job, message: dict[str, Any]) -> None:
        if job.name == "seed 1" and "test" in message:
            workers[-1].process.kill()

    with pytest.raises(DragonError, match="seed 1: its worker ended twice, with signal 9"):
        Pool(1).run(jobs_of(comparison, tmp_path / "runs", 2), kill)
    assert [path.name for path in (tmp_path / "runs").glob("*.json")] == ["2.json"]


def test_a_job_that_another_process_does_is_waited_for(comparison: Path, tmp_path: Path, workers: list[Any]) -> None:
    jobs = jobs_of(comparison, tmp_path / "runs", 2)
    asked: list[str] = []
    with ExitStack() as other:
        other.enter_context(locked(tmp_path / "runs" / ".1.lock"))

        def finish(job: Job, message: dict[str, Any]) -> None:
            asked.append(job.name)
            if job.name == "seed 2" and "done" in message:
                jobs[0].result.write_text('{"series": "of the other process"}')
                other.close()

        Pool(1).run(jobs, finish)
    assert asked.index("seed 1") < asked.index("seed 2")
    assert series_of(tmp_path / "runs")[0] == "of the other process"
    assert len(workers) == 3, "the first was given again"


def test_an_error_of_a_job_keeps_its_type_and_stops_the_others(comparison: Path, tmp_path: Path) -> None:
    jobs = jobs_of(comparison, tmp_path / "runs", 2)
    jobs[0].content["solver"] = jobs[0].content["solver"].replace("synthetic_train_lmdb", "nowhere")
    with pytest.raises(DataError, match=r"^seed 1: .*nowhere"):
        Pool(1).run(jobs, lambda job, message: None)
    assert not (tmp_path / "runs" / "2.json").exists()
