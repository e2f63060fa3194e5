"""The pool for workers elsewhere, with an engine whose workers are threads of this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dragon.compare import same_data
from dragon.compare.executors import make_pool, remote_pool
from dragon.compare.executors import task as tasks
from dragon.compare.executors.engine import RemoteEngine
from dragon.compare.executors.remote_pool import RemotePool
from dragon.compare.executors.task import Answer, Task, do_task
from dragon.compare.jobs import Job, Message
from dragon.compare.pool import Pool
from dragon.compare.process import WorkerProcess
from dragon.errors import DataError, DragonError, UsageError
from dragon.files.lock import locked
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import format_text, parse_text
from tests.compare.jobs import jobs_of, series_of


class Threads(RemoteEngine):
    """Two workers. change: what becomes of a task on its way to a worker."""

    name = "threads"

    def __init__(self, change: Callable[[Task], Task] = lambda task: task) -> None:
        self.change = change
        self.stopped = False
        self.tasks: list[Task] = []
        self.pool: ThreadPoolExecutor

    def start(self) -> None:
        self.pool = ThreadPoolExecutor(2)

    def slots(self) -> int:
        return 2

    def submit(self, task: Task) -> Future[Answer]:
        self.tasks.append(task)
        return self.pool.submit(do_task, self.change(task), lambda: self.stopped)

    def stop_running(self) -> None:
        self.stopped = True

    def close(self) -> None:
        self.pool.shutdown()


@pytest.fixture(autouse=True)
def no_idle_processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The worker processes end with each test."""
    yield
    for one in tasks._Served.idle[:]:
        one.timer.cancel()
        one._expire()


def run(jobs: list[Job], on_message: Callable[[Job, Message], None], engine: Threads | None = None) -> Threads:
    engine = engine or Threads()
    with RemotePool(engine) as pool:
        pool.run(jobs, on_message)
    return engine


def ignore(job: Job, message: Message) -> None:
    pass


def test_the_records_are_those_of_local_workers(comparison: Path, tmp_path: Path) -> None:
    Pool(2).run(jobs_of(comparison, tmp_path / "local", 3), ignore)
    messages: list[tuple[str, Message]] = []
    run(jobs_of(comparison, tmp_path / "remote", 3), lambda job, message: messages.append((job.name, message)))
    assert series_of(tmp_path / "remote") == series_of(tmp_path / "local")
    of_first = [message for name, message in messages if name == "seed 1"]
    assert [key for message in of_first for key in ("start", "test", "done") if key in message] == [
        "start",
        "test",
        "done",
    ]
    last = series_of(tmp_path / "local")[0]["test/accuracy"]
    assert (of_first[1]["iter"], of_first[1]["test"]["accuracy"]) == (last[0][-1], last[1][-1])


def test_no_shared_folder_is_needed_for_the_records(comparison: Path, tmp_path: Path) -> None:
    def elsewhere(task: Task) -> Task:
        content = {**task.content, "folder": str(tmp_path / "worker/snapshots")}
        return replace(task, result=str(tmp_path / "worker" / Path(task.result).name), content=content)

    jobs = jobs_of(comparison, tmp_path / "runs", 1)
    run(jobs, ignore, Threads(elsewhere))
    assert series_of(tmp_path / "runs") == series_of(tmp_path / "worker")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["1.json"]


def test_paths_that_a_worker_gets_hold_in_other_folders(
    comparison: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = jobs_of(comparison, tmp_path / "runs", 1)
    monkeypatch.chdir(tmp_path)
    job = replace(jobs[0], result=Path("runs/1.json"), content={**jobs[0].content, "folder": "runs/1"})
    task = run([job], ignore).tasks[0]
    assert (task.result, task.content["folder"]) == (str(tmp_path / "runs/1.json"), str(tmp_path / "runs/1"))
    assert task.folder == str(tmp_path)


def kill_at_first(times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process of job "seed 1" be killed as soon as it has the job, `times` times."""
    give = WorkerProcess.give
    left = [times]

    def give_and_kill(worker: WorkerProcess, job: Job) -> None:
        give(worker, job)
        if job.result.name == "1.json" and left[0]:
            left[0] -= 1
            worker.process.kill()

    monkeypatch.setattr(WorkerProcess, "give", give_and_kill)


def test_the_job_of_a_killed_process_is_given_again(
    comparison: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_at_first(1, monkeypatch)
    engine = run(jobs_of(comparison, tmp_path / "runs", 2), ignore)
    assert sorted(Path(task.result).name for task in engine.tasks) == ["1.json", "1.json", "2.json"]
    assert len(series_of(tmp_path / "runs")) == 2


def test_a_job_whose_processes_die_is_reported_after_the_others(
    comparison: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_at_first(2, monkeypatch)
    with pytest.raises(DragonError, match=r"^seed 1: its worker ended twice, with signal 9"):
        run(jobs_of(comparison, tmp_path / "runs", 3), ignore)
    assert [path.name for path in sorted((tmp_path / "runs").glob("*.json"))] == ["2.json", "3.json"]


def test_an_error_of_a_job_keeps_its_type(comparison: Path, tmp_path: Path) -> None:
    jobs = jobs_of(comparison, tmp_path / "runs", 1)
    wrong = jobs[0].content["solver"].replace('type: "ReLU"', 'type: "Relu"')
    with pytest.raises(DragonError) as local:
        Pool(1).run([replace(jobs[0], content={**jobs[0].content, "solver": wrong})], ignore)
    with pytest.raises(DragonError) as remote:
        run([replace(jobs[0], content={**jobs[0].content, "solver": wrong})], ignore)
    assert (type(remote.value), str(remote.value)) == (type(local.value), str(local.value))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path, digest: (path, "f" * 64), "another (data set|file) than the experiment's"),
        (
            lambda path, digest: (path.replace("synthetic_t", "gone_t"), digest),
            "gone_t.*: no such data set; workers need",
        ),
    ],
)
def test_other_data_on_a_worker_are_an_error(
    comparison: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    change: Callable[[str, str], tuple[str, str]], message: str,
) -> None:  # fmt: skip
    def changed(content: dict[str, Any]) -> same_data.Data:
        found = []
        for path, backend, named, digest in same_data.data_of(content):
            path, digest = change(path, digest)
            found.append((path, backend, named, digest))
        return found

    monkeypatch.setattr(remote_pool, "data_of", changed)
    with pytest.raises(DataError, match=f"^seed 1: .*{message}"):
        run(jobs_of(comparison, tmp_path / "runs", 1), ignore)


def test_the_data_of_all_nets_of_a_job_are_compared(comparison: Path, tmp_path: Path) -> None:
    job = jobs_of(comparison, tmp_path / "runs", 1)[0]
    names = {Path(path).name for path, *_ in same_data.data_of(job.content)}
    assert names == {"synthetic_train_lmdb", "synthetic_test_lmdb", "mean.binaryproto"}
    solver = parse_text(job.content["solver"], pb.SolverParameter())
    train = format_text(solver.train_net_param)
    solver.weights.append("first.caffemodel")
    start = same_data.data_of({"solver": format_text(solver)})
    assert start[0] == ("first.caffemodel", None, ["weights", ""], "first.caffemodel")
    for content in ({"first": "", "second": train}, {"net": train}, {"nets": ["", train]}):
        assert {Path(path).name for path, *_ in same_data.data_of(content)} == names


def test_another_version_on_a_worker_is_an_error(comparison: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^seed 1: .* has Dragon .*, the experiment was started by 9\.9"):
        run(jobs_of(comparison, tmp_path / "runs", 1), ignore, Threads(lambda task: replace(task, version="9.9")))


def test_an_interrupt_leaves_snapshots_and_starts_nothing_more(comparison: Path, tmp_path: Path) -> None:
    comparison.write_text(comparison.read_text().replace("name: A", "iterations: 3000\nname: A"))
    jobs = jobs_of(comparison, tmp_path / "runs", 3)
    short = jobs_of(comparison, tmp_path / "short", 1)[0]
    short = replace(
        short, content={**short.content, "solver": short.content["solver"].replace("max_iter: 3000", "max_iter: 10")}
    )

    def interrupt(job: Job, message: Message) -> None:
        if "done" in message:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run([short, *jobs], interrupt)
    assert list((tmp_path / "runs").glob("*/*.solverstate*"))
    assert not list((tmp_path / "runs").glob("*.json"))


def test_a_job_that_another_process_does_is_waited_for(comparison: Path, tmp_path: Path) -> None:
    jobs = jobs_of(comparison, tmp_path / "runs", 2)
    with ExitStack() as other:
        other.enter_context(locked(tmp_path / "runs" / ".1.lock"))

        def finish(job: Job, message: Message) -> None:
            if job.name == "seed 2" and "done" in message:
                jobs[0].result.write_text('{"series": {"of the other process": [[], []]}}')
                other.close()

        run(jobs, finish)
    assert series_of(tmp_path / "runs")[0] == {"of the other process": [[], []]}


def test_threads_are_those_of_local_workers(comparison: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dragon.compare.pool.usable_cores", lambda: 8)
    monkeypatch.setattr(tasks, "usable_cores", lambda: 6)  # of the worker's machine
    given: list[int] = []
    give = WorkerProcess.give

    def remember(worker: WorkerProcess, job: Job) -> None:
        given.append(worker.threads)
        give(worker, job)

    monkeypatch.setattr(WorkerProcess, "give", remember)
    jobs = jobs_of(comparison, tmp_path / "runs", 3)
    with RemotePool(Threads(), 4) as pool:
        assert [pool.threads(n) for n in (1, 3, 20)] == [Pool(4).threads(n) for n in (1, 3, 20)] == [8, 2, 2]
        pool.run(jobs[:2], ignore)
        pool.run([replace(jobs[2], threads=3)], ignore)
        pool.run([replace(jobs[2], result=tmp_path / "4.json")], ignore, alone=True)
        assert (pool.executor, pool.jobs) == ("threads", 2)
    assert given == [4, 4, 3, 6]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": "dusk"}, 'no executor "dusk".*dask.*known: local, mpi, dask'),
        ({"executor": "mpi", "scheduler": "tcp://a:1"}, "--scheduler .* needs --executor dask, got mpi"),
        ({"executor": "dask", "jobs": 0}, "--jobs must be at least 1, got 0"),
    ],
)
def test_wrong_options_are_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_pool(**options)


@pytest.mark.parametrize(("executor", "package"), [("mpi", "mpi4py"), ("dask", "distributed")])
def test_a_missing_package_is_named(executor: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(
        UsageError, match=rf'--executor {executor} needs a package: pip install "dragon-caffe\[{executor}\]"'
    ):
        make_pool(executor)
