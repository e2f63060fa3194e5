"""A worker process of `dragon compare`: jobs from stdin, one a line, progress as JSON lines to stdout.

Job: {"kind": "train" | "pair" | "memory" | "speed" | "cost", "result": PATH, ...}. The last line of each is
{"done": true}, {"stopped": true}, {"busy": true} (another process does the same job) or {"error": message, "type": name
of the exception}. When it is done, the result is in the file. The worker ends at the end of its input. A job
from another machine has "data" too, the digests of the data sets (dragon.compare.same_data).
"""

from __future__ import annotations

import gc
import json
import logging
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dragon.bases.user_code import user_code
from dragon.compare.arithmetic import options_for
from dragon.compare.same_data import check_data
from dragon.compare.store import read_result
from dragon.engines import Options
from dragon.errors import DragonError
from dragon.files.atomic import write_atomically
from dragon.files.layer_files import layer_files
from dragon.files.lock import LockedError, locked
from dragon.files.paths import path_or_none
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.proto.text import parse_text
from dragon.solver.solver import Solver

__all__ = ["main", "run_job"]

Message = dict[str, Any]
Report = Callable[[Message], None]

_BUSY_S = 0.5

_solver: Solver | None = None
_stop = False


def run_job(content: dict[str, Any], report: Report) -> dict[str, Any] | None:
    """Do one job in this process and return its result; None when it was asked to stop. Raises DragonError."""
    global _solver
    work = {"train": _train, "pair": _pair, "memory": _memory, "speed": _speed, "cost": _cost}[content["kind"]]
    try:
        # no layer writes files: runs side by side would write the same ones
        with user_code(bool(content.get("allow_python"))), layer_files(False):
            check_data(content.get("data", []))
            return work(content, report)
    finally:
        _solver = None


def _send(message: Message) -> None:
    """Write one progress line. When nobody reads any more, the run stops after a snapshot."""
    try:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        _request_stop()


def _request_stop(*_: object) -> None:
    global _stop
    _stop = True
    if _solver is not None:
        _solver.request("stop")


def _set_solver(solver: Solver) -> None:
    """Remember the solver that a signal has to stop."""
    global _solver
    _solver = solver
    if _stop:
        solver.request("stop")


def _net(text: str, folder: str | None) -> Definition[pb.NetParameter]:
    return Definition(parse_text(text, pb.NetParameter(), "<job>"), folder=path_or_none(folder))


def _solver_of(job: dict[str, Any]) -> pb.SolverParameter:
    return parse_text(job["solver"], pb.SolverParameter(), "<job>")


def _options(job: dict[str, Any]) -> Options:
    return options_for(job["precision"], threads=job["threads"])


def _train(job: dict[str, Any], report: Report) -> dict[str, Any] | None:
    from dragon.compare.training import train

    start = _net(job["start_from"], None).message if job["start_from"] else None
    return train(
        _solver_of(job), start, job["engine"], _options(job), Path(job["folder"]), report, _set_solver, job["averages"],
        tests=job["tests"], exact_images=job["exact_images"], exact_variance=job.get("exact_variance", "pooled"),
        stop=job["stop"], probes=job["probes"],
        fit_threads=job["fit_threads"], net_folder=path_or_none(job.get("net_folder")),
    )  # fmt: skip


def _pair(job: dict[str, Any], report: Report) -> dict[str, Any]:
    from dragon.compare.pairs import compare_pair

    first, second = (_net(job[which], job.get("net_folder")) for which in ("first", "second"))
    return compare_pair(first, second, job["seed"], job["engine"], job["precision"], job["seconds"])


def _memory(job: dict[str, Any], report: Report) -> dict[str, Any]:
    from dragon.compare.pairs import peak_memory

    return peak_memory(_net(job["net"], job.get("net_folder")), job["seed"], job["engine"], job["precision"])


def _cost(job: dict[str, Any], report: Report) -> dict[str, Any]:
    from dragon.compare.cost import measure_cost

    nets = [_net(text, folder) for text, folder in zip(job["nets"], job["net_folders"], strict=True)]
    return {"series": measure_cost(nets, job["seed"], job["settings"], job["seconds"])}


def _speed(job: dict[str, Any], report: Report) -> dict[str, Any]:
    """Measure the seconds of one iteration and of one test batch, with as many threads as a run will have."""
    from dragon.compare.training import make_solver

    definition = _solver_of(job)
    definition.test_interval = 0
    folder = path_or_none(job.get("net_folder"))
    solver = make_solver(definition, None, job["engine"], _options(job), job["tests"], True, folder)
    try:
        solver.step(3)
        begin, steps = time.perf_counter(), 0
        while time.perf_counter() - begin < job["seconds"]:
            solver.step(2)
            steps += 2
        iteration_s = (time.perf_counter() - begin) / steps
        net = solver.test_nets[0]
        net.run_forward()
        begin, batches = time.perf_counter(), 0
        while time.perf_counter() - begin < job["seconds"] / 2:
            net.run_forward()
            batches += 1
        return {"iteration_s": iteration_s, "test_batch_s": (time.perf_counter() - begin) / batches}
    finally:
        solver.close()


def _answer(job: dict[str, Any]) -> Message:
    """Do a job and write its result, unless another process has done it meanwhile; the last message about it."""
    path = Path(job["result"])
    try:
        with locked(path.with_name(f".{path.stem}.lock")):
            if read_result(path) is None:
                result = run_job(job, _send)
                if result is None:
                    return {"stopped": True}
                write_atomically(path, json.dumps(result).encode())
    except LockedError:
        time.sleep(_BUSY_S)  # so that a pool with nothing else to do does not ask all the time
        return {"busy": True}
    except DragonError as error:
        return {"error": str(error), "type": type(error).__name__}
    except OSError as error:
        return {"error": f"{error.filename or job['result']}: {error.strerror}", "type": "DataError"}
    return {"done": True}


def main() -> int:
    """Do the jobs on stdin; return the exit status."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s", stream=sys.stderr)
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _request_stop)
    while not _stop and (line := sys.stdin.readline()):
        _send(_answer(json.loads(line)))
        gc.collect()  # nets hold much memory, some of it in cycles
    return 0


if __name__ == "__main__":
    sys.exit(main())
