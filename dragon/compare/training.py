"""One training run of a comparison: its curves, its tests by running and by batch statistics, and how it resumes.

A run's folder holds the newest snapshot and `partial.json`, the curves up to it, until the run is finished.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dragon.bases.batch_statistics import averages
from dragon.bases.layer import TRAIN
from dragon.compare.averages import Averages, Rule
from dragon.compare.nets import as_inputs, copy_parameters
from dragon.engines import Options
from dragon.errors import NumericError
from dragon.files.atomic import write_atomically
from dragon.files.reading import read_text
from dragon.graph.net import Net
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.solver.solver import Observer, Solver

__all__ = ["Report", "make_solver", "train"]

Report = Callable[[dict[str, Any]], None]

BATCH = 1  # the test net that normalises by the statistics of the test batch
_REPORT_EVERY_S = 0.5


def make_solver(
    definition: pb.SolverParameter, start_from: pb.NetParameter | None, engine: str, options: Options
) -> Solver:
    """The solver of a run. Its second test net normalises by the batch; its weights are copied from `start_from`."""
    solver = Solver(definition, engine=engine, options=options)
    for net in solver.test_nets[BATCH : BATCH + 1]:
        for layer in net.layers:
            if averages(layer):
                layer.let_phase_decide()
                layer.phase = TRAIN
    if start_from is not None:
        shapes = {name: blob.shape for name, blob in solver.net.blobs.items()}
        source = Net(as_inputs(start_from, shapes, TRAIN), phase=TRAIN, engine="numpy", seed=solver.seed)
        copy_parameters(source, solver.net)
    return solver


class Recorder(Observer):
    """Records the curves, and restores the running statistics after a test that normalises by its batches."""

    def __init__(self, folder: Path, report: Report) -> None:
        self.folder = folder
        self.report = report
        self.losses: list[float] = []
        self.tests: list[dict[str, Any]] = []
        self.train_s = 0.0
        self.test_s = 0.0
        self.state = ""
        self._clock = time.perf_counter()
        self._reported = 0.0
        self.averages: Averages | None = None
        self.statistics = ["global", "batch"]  # what the test nets normalise by
        self._rules: list[int | None] = [0, None]  # for each test net, the index of its rule in `averages`
        self._resumed: list[Any] | None = None
        self._saved: list[tuple[Blob, Array]] = []  # running statistics before a test by batch statistics

    def follow(self, net: Net, rules: dict[str, Rule]) -> None:
        """Test with several running averages: the net's own first, the others in the test nets after BATCH."""
        self.averages = Averages(net, list(rules.values()))
        self.statistics += list(rules)[1:]
        self._rules += range(1, len(rules))
        if self._resumed is not None:
            self.averages.load_state(self._resumed)

    # -- the solver's calls ---------------------------------------------------------------------------------
    def on_start(self, solver: Solver) -> None:
        self._clock = time.perf_counter()

    def on_iteration(self, solver: Solver, loss: float, rate: float) -> None:
        now = time.perf_counter()
        self.train_s += now - self._clock
        self._clock = now
        self.losses.append(float(solver.losses[-1]))
        if self.averages is not None:
            self.averages.update()
        if now - self._reported > _REPORT_EVERY_S:
            self._reported = now
            self.report({"iter": solver.iter, "loss": loss})

    def on_test_start(self, solver: Solver, index: int) -> None:
        self._clock = time.perf_counter()
        rule = self._rules[index]
        if self.averages is not None and rule is not None:
            self.averages.apply(rule)
        if index == BATCH:
            self._saved = [(blob, blob.peek().copy()) for blob, param in solver.net.owned if param is None]

    def on_test(self, solver: Solver, index: int, scores: OrderedDict[str, Array]) -> None:
        if index == BATCH:
            for blob, statistics in self._saved:
                blob.data[...] = statistics
        if not self.tests or self.tests[-1]["iter"] != solver.iter:
            self.tests.append({"iter": solver.iter})
        values = {name: float(np.mean(value)) for name, value in scores.items()}
        self.tests[-1][self.statistics[index]] = values
        now = time.perf_counter()
        self.test_s += now - self._clock
        self._clock = now
        self.report({"iter": solver.iter, "test": values, "statistics": self.statistics[index]})

    def on_snapshot(self, solver: Solver, model: str, state: str) -> None:
        old, self.state = self.state, Path(state).name
        running = self.averages.state() if self.averages is not None else None
        saved = {"state": self.state, "averages": running, **self.curves()}
        write_atomically(self.folder / "partial.json", json.dumps(saved).encode())
        if old and old != self.state:
            for name in (old, old.replace(".solverstate", ".caffemodel")):
                (self.folder / name).unlink(missing_ok=True)
        self._clock = time.perf_counter()

    # -- resuming -------------------------------------------------------------------------------------------
    def curves(self) -> dict[str, Any]:
        """Losses by iteration, test scores, and seconds of training and testing so far."""
        return {"losses": self.losses, "tests": self.tests, "train_s": self.train_s, "test_s": self.test_s}

    def resume(self) -> str | None:
        """Load the curves up to the last snapshot; return the path of its state, None if there is no snapshot."""
        try:
            saved = json.loads(read_text(self.folder / "partial.json"))
            state = self.folder / saved["state"]
            if not state.is_file():
                return None
            self.losses, self.tests = list(saved["losses"]), list(saved["tests"])
            self.train_s, self.test_s = float(saved["train_s"]), float(saved["test_s"])
            self.state = state.name
            self._resumed = saved["averages"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return str(state)


def train(
    definition: pb.SolverParameter,
    start_from: pb.NetParameter | None,
    engine: str,
    options: Options,
    folder: Path,
    report: Report,
    on_solver: Callable[[Solver], None] = lambda solver: None,
    averages: dict[str, Rule] | None = None,
) -> dict[str, Any] | None:
    """Train to the end, from the folder's snapshot if there is one; return the result, None when stopped before.

    A loss that becomes NaN or infinite ends the run, and the result reports it as "diverged". report: gets progress
    messages. on_solver: gets the solver before it starts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    definition.snapshot_prefix = str(folder / "run")
    definition.snapshot = definition.test_interval
    recorder = Recorder(folder, report)
    state = recorder.resume()
    solver = make_solver(definition, None if state else start_from, engine, options)
    if averages:
        recorder.follow(solver.net, averages)
    solver.observers.append(recorder)
    on_solver(solver)
    diverged = None
    try:
        solver.solve(state)
    except NumericError as error:
        diverged = str(error)
    finally:
        solver.close()
    if solver.stopped and diverged is None:
        return None
    shutil.rmtree(folder, ignore_errors=True)
    return {
        **recorder.curves(),
        "iterations": len(recorder.losses),
        "batch_size": _batch_size(solver.net),
        "diverged": diverged,
        "engine": solver.net.executor.name,
    }


def _batch_size(net: Net) -> int:
    """Number of images in a training batch: the extent of the first top's first axis."""
    return next((node.tops[0].shape[0] for node in net.nodes if node.tops and node.tops[0].shape), 1)
