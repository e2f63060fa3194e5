"""Recorder: the observer that writes down a run's series, and sets up what its tests normalise by.

A run's folder holds the newest snapshot and `partial.json`, the series up to it, until the run is finished.
"""

from __future__ import annotations

import json
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dragon.compare.averages import Averages, Rule
from dragon.compare.exact import ExactStatistics
from dragon.files.atomic import write_atomically
from dragon.files.reading import read_text
from dragon.graph.net import Net
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.probes import ProbeObserver
from dragon.solver.solver import Observer, Solver

__all__ = ["CHANCE", "SNAPSHOT_EVERY_S", "Recorder", "Report", "series_name"]

Report = Callable[[dict[str, Any]], None]
Series = tuple[list[int], list[float | None]]

CHANCE = "chance"  # why a run was stopped
SNAPSHOT_EVERY_S = 30.0  # seconds of a run that an interruption without warning may cost
_REPORT_EVERY_S = 0.5
_LOSS = "train/loss"  # of each iteration
_RATE = "rate"


def series_name(on: str, output: str, statistics: str) -> str:
    """The name of what test nets score: test/accuracy, test/accuracy@batch, train/accuracy, train/loss@tested."""
    name = f"{on}/{output}"
    suffix = "" if statistics == "global" else f"@{statistics}"
    return name + (suffix or ("@tested" if name == _LOSS else ""))


class Recorder(Observer):
    """Records series, and restores the running statistics after a test by those of its batches or by exact ones.

    tests: for each test net what it tests ("test" or "train") and the statistics. stop: {"output", "value", "at"}.
    """

    def __init__(
        self,
        folder: Path,
        report: Report,
        tests: Sequence[Sequence[str]] = (("test", "global"), ("test", "batch")),
        stop: dict[str, Any] | None = None,
        probes: ProbeObserver | None = None,
    ) -> None:
        self.folder = folder
        self.report = report
        self.tests = [(on, statistics) for on, statistics in tests]
        self.stop = stop
        self.probes = probes
        self.series: dict[str, Series] = {}
        self.train_s = 0.0
        self.test_s = 0.0
        self.state = ""
        self.stopped: str | None = None
        self.averages: Averages | None = None
        self.exact: ExactStatistics | None = None
        self._rules: dict[str, int] = {}  # the index in `averages` by statistics
        self._clock = time.perf_counter()
        self._probed = 0.0  # seconds of probes until then
        self._reported = 0.0
        self._kept = self._clock  # when the last snapshot was written
        self._resumed: dict[str, Any] = {}
        self._saved: list[tuple[Blob, Array]] = []  # running statistics before a test by others

    def follow(self, net: Net, rules: dict[str, Rule]) -> None:
        """Test with several running averages: the net's own, "global", first."""
        self.averages = Averages(net, list(rules.values()))
        self._rules = {name: index for index, name in enumerate(rules)}
        if self._resumed.get("averages") is not None:
            self.averages.load_state(self._resumed["averages"])

    # -- the solver's calls ---------------------------------------------------------------------------------
    def on_start(self, solver: Solver) -> None:
        self._lap()

    def on_iteration(self, solver: Solver, loss: float, rate: float) -> None:
        self.train_s += self._lap()
        self._add(_LOSS, solver.iter, float(solver.losses[-1]))
        if self.averages is not None:
            self.averages.update(rate, solver.param.momentum, solver.param.weight_decay)
        if self._clock - self._reported > _REPORT_EVERY_S:
            self._reported = self._clock
            self.report({"iter": solver.iter, "loss": loss})
        if self._clock - self._kept > SNAPSHOT_EVERY_S:
            solver.request("snapshot")

    def on_test_start(self, solver: Solver, index: int) -> None:
        self._lap()
        _, statistics = self.tests[index]
        if self.averages is not None and statistics in self._rules:
            self.averages.apply(self._rules[statistics])
        if statistics in ("batch", "exact"):
            self._saved = [(blob, blob.peek().copy()) for blob, param in solver.net.owned if param is None]
        if statistics == "exact" and self.exact is not None:
            self.exact.apply(solver.net)

    def on_test(self, solver: Solver, index: int, scores: OrderedDict[str, Array]) -> None:
        for blob, statistics in self._saved:
            blob.data[...] = statistics
        self._saved = []
        on, by = self.tests[index]
        values = {name: float(np.mean(value)) for name, value in scores.items()}
        for name, value in values.items():
            self._add(series_name(on, name, by), solver.iter, value)
        if index == 0:
            self._add(_RATE, solver.iter, solver.learning_rate())
        self.test_s += self._lap()
        self.report({"iter": solver.iter, "test": values, "statistics": by if on == "test" else f"training set, {by}"})
        if index == len(self.tests) - 1 and self._at_chance(solver.iter):
            self.stopped = CHANCE
            solver.request("stop")

    def on_snapshot(self, solver: Solver, model: str, state: str) -> None:
        old, self.state = self.state, Path(state).name
        running = self.averages.state() if self.averages is not None else None
        probes = self.probes.state() if self.probes is not None else None
        saved = {"state": self.state, "averages": running, "probes": probes, **self.content()}
        write_atomically(self.folder / "partial.json", json.dumps(saved).encode())
        if old and old != self.state:
            for name in (old, old.replace(".solverstate", ".caffemodel")):
                (self.folder / name).unlink(missing_ok=True)
        self._lap()
        self._kept = self._clock

    @property
    def probe_s(self) -> float:
        """Seconds that probes took."""
        return self.probes.seconds if self.probes is not None else 0.0

    def _lap(self) -> float:
        """Seconds since the last call, without those of probes."""
        now, probed = time.perf_counter(), self.probe_s
        passed = now - self._clock - (probed - self._probed)
        self._clock, self._probed = now, probed
        return passed

    # -- series ---------------------------------------------------------------------------------------------
    def _add(self, name: str, iteration: int, value: float) -> None:
        iterations, values = self.series.setdefault(name, ([], []))
        if iterations and iterations[-1] >= iteration:  # tested again after a stop between two tests
            del iterations[-1], values[-1]
        iterations.append(iteration)
        values.append(value if math.isfinite(value) else None)

    def _at_chance(self, iteration: int) -> bool:
        """Whether no test by any statistics scored above the value of `stop`."""
        if self.stop is None or iteration < self.stop["at"]:
            return False
        names = {series_name("test", self.stop["output"], by) for on, by in self.tests if on == "test"}
        last = [self.series[name][1][-1] for name in names if name in self.series]
        return bool(last) and all(value is None or value <= self.stop["value"] for value in last)

    def content(self) -> dict[str, Any]:
        """Series, and seconds of training, testing and probing so far."""
        return {"series": self.series, "train_s": self.train_s, "test_s": self.test_s, "probe_s": self.probe_s}

    # -- resuming -------------------------------------------------------------------------------------------
    def resume(self) -> str | None:
        """Load the series up to the last snapshot; return the path of its state, None if there is no snapshot."""
        try:
            saved = json.loads(read_text(self.folder / "partial.json"))
            state = self.folder / saved["state"]
            if not state.is_file():
                return None
            self.series = {name: (list(x), list(y)) for name, (x, y) in saved["series"].items()}
            self.train_s, self.test_s = float(saved["train_s"]), float(saved["test_s"])
            self.state = state.name
            self._resumed = {"averages": saved["averages"]}
            if self.probes is not None:
                self.probes.load_state(saved["probes"])
                self._probed = self.probes.seconds
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return str(state)
