"""One training by `dragon train`: who watches it, where its files go, and what is said at its end."""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from dragon.counting import how_many
from dragon.graph.facts import SYNTHETIC, batch_norms, summary, synthetic
from dragon.graph.outputs import batch_size
from dragon.probes import Probe
from dragon.probes.observer import Values
from dragon.solver.definition import warnings
from dragon.solver.glog import GlogObserver
from dragon.solver.meter import Meter
from dragon.solver.solver import Observer, Solver
from dragon.tools.common.logs import log
from dragon.tools.common.signals import solver_signals
from dragon.tools.observers.busy import BusyObserver
from dragon.tools.observers.curves import CurvesObserver
from dragon.tools.observers.forgiving import Forgiving
from dragon.tools.observers.keeping import KeepBest, KeepLast, best_path
from dragon.tools.observers.log_file import logged_to
from dragon.tools.observers.metrics import MetricsObserver, Record, status_of
from dragon.tools.observers.probes import RecordedProbes
from dragon.tools.observers.progress import ProgressObserver
from dragon.tools.observers.stragglers import Stragglers
from dragon.tools.observers.tensorboard import TensorBoardObserver
from dragon.tools.observers.vitals import Vitals
from dragon.tools.runs.best import Score, best_of
from dragon.tools.runs.folder import LOG
from dragon.tools.runs.record import RunRecord

__all__ = ["Session"]


@dataclass
class Session:
    """A training and what was asked for.

    show: the console for a progress bar, None for a log in Caffe's form. folder: for metrics and curves. run: the
    run's own folder, None without one. command: the command line. start_again: words of the command line that goes on,
    but for the snapshot. resumed: the state that training goes on from. iterations: the value of that flag.
    """

    show: Console | None
    folder: Path
    command: str
    start_again: Sequence[str]
    run: Path | None = None
    name: str = ""
    resumed: str | None = None
    iterations: int | None = None
    events: Path | None = None
    probes: list[Probe] = field(default_factory=list)
    own_observers: list[Observer] = field(default_factory=list)
    norms: bool = False
    keep_last: int | None = None
    keep_best: bool = False
    sigint: str = "stop"
    sighup: str = "snapshot"

    def train(self, solver: Solver) -> None:
        """Train until max_iter or a stop, and log how it ended."""
        with ExitStack() as stack:
            # from the first line that is logged: who reads it may send a signal
            stack.enter_context(solver_signals(solver, self.sigint, self.sighup))
            logger = log
            if self.run is not None:
                own = stack.enter_context(logged_to(self.run / LOG))
                logger = log if self.show is None else own
            meter = Meter()
            metrics = self._watch(solver, meter, logger)
            for line in _opening(solver):
                log.info(line)
            for line in warnings(solver.param):
                log.warning("%s: %s", solver.path, line)
            if not any(parameter.lr_mult for parameter in solver.net.learnable):
                log.warning("nothing learns in this net: every lr_mult is 0, or it has no weights")
            log.info("Metrics and curves go to %s", self.folder)
            if self.events is not None:
                log.info("Event files go to %s", self.events)
            self._run(solver, metrics)
            if synthetic(solver.net):
                log.info("Results are of %s", SYNTHETIC)

    def _watch(self, solver: Solver, meter: Meter, logger: logging.Logger) -> MetricsObserver:
        """Add the observers to the solver; returns that of the metrics."""
        vitals = Vitals(meter, self.norms)
        metrics = MetricsObserver(self.folder / "metrics.jsonl", meter, vitals)
        written = Forgiving(metrics, "metrics.jsonl")
        solver.observers.append(meter)
        if self.probes:  # before the metrics, which end with the run

            def record(solver: Solver, probe: Probe, values: Values) -> None:
                written.call(metrics.add_probe, solver, probe.title, values)

            watching = RecordedProbes(self.probes, record, meter.skip, self.resumed)
            solver.observers.append(Forgiving(watching, "the states of the probes"))
        if self.show is not None:
            solver.observers.append(Forgiving(ProgressObserver(meter, self.show), "the log"))
        if self.show is None or logger is not log:
            solver.observers.append(Forgiving(GlogObserver(meter, logger), "the log"))
        curves = CurvesObserver(self.folder / "curves.png", metrics, meter)
        solver.observers += [Forgiving(vitals, "the log"), written, Forgiving(curves, "curves.png")]
        if self.events is not None:
            solver.observers.append(Forgiving(TensorBoardObserver(self.events, meter, vitals), "the event file"))
        if self.keep_last is not None:
            solver.observers.append(
                Forgiving(KeepLast(self.keep_last, self.run is not None), "the folder of snapshots")
            )
        if self.keep_best:
            solver.observers.append(Forgiving(KeepBest(metrics, meter), str(best_path(solver))))
        if solver.ranks is not None:
            solver.observers.append(Forgiving(Stragglers(), "the log"))
        solver.observers += [*self.own_observers, Forgiving(BusyObserver(), "the log")]
        return metrics

    def _run(self, solver: Solver, metrics: MetricsObserver) -> None:
        record = None if self.run is None else RunRecord(self.run, solver, self.name, self.command)
        began = time.monotonic()
        try:
            solver.solve()
        finally:
            status, error = status_of(solver)
            best = best_of(solver.test_nets[0], metrics.records) if solver.test_nets else None
            seconds = time.monotonic() - began
            last = _last_snapshot(metrics.records)
            if record is not None:
                facts = {"status": status, "last_iteration": solver.iter, "seconds": round(seconds, 3), **error}
                try:
                    record.end(facts | _files(solver, last, best))
                except OSError as problem:
                    log.warning("%s cannot be written (%s)", problem.filename, problem.strerror)
            if status != "failed":
                for line in self._closing(solver, status, seconds, best, last):
                    log.info(line)

    def _closing(
        self, solver: Solver, status: str, seconds: float, best: Score | None, last: Record | None
    ) -> Iterator[str]:
        """The last lines of the log: how far training went, its best test, its weights, and how to go on."""
        score = "" if best is None else f"; best {best} at iteration {best.iteration:,}"
        yield f"{status.capitalize()} at iteration {solver.iter:,} after {timedelta(seconds=round(seconds))}{score}"
        files = _files(solver, last, best)
        if "weights" in files:
            yield "Weights: " + ", best: ".join(files[key] for key in ("weights", "best_weights") if key in files)
        if last is None or not solver.iter:
            return
        words = [*self.start_again]
        if self.run is None:
            words += ["--snapshot", last["state"]]
        if solver.iter >= solver.param.max_iter:
            words += ["--iterations", str(2 * solver.iter)]
        elif self.run is None and self.iterations is not None:
            words += ["--iterations", str(self.iterations)]
        yield f"To go on: {shlex.join(words)}"


def _files(solver: Solver, last: Record | None, best: Score | None) -> dict[str, Any]:
    """The weights that a training has left, and its best score, for JSON."""
    found: dict[str, Any] = {}
    if last is not None:
        found["weights"] = last["model"]
    if best_path(solver).is_file():
        found["best_weights"] = str(best_path(solver))
    if best is not None:
        found["best"] = {best.name: best.value, "iteration": best.iteration}
    return found


def _last_snapshot(records: Iterable[Record]) -> Record | None:
    """The record of the last snapshot whose files are there."""
    last = None
    for record in records:
        paths = record.get("model"), record.get("state")
        if record["event"] == "snapshot" and all(isinstance(path, str) and Path(path).is_file() for path in paths):
            last = record
    return last


def _opening(solver: Solver) -> Iterator[str]:
    """The first lines of the log: net, engine, seed and data of the run."""
    net, options = solver.net, solver.net.executor.options
    yield summary(net)
    threads = getattr(net.executor, "threads", None)
    note = f", {how_many(threads, 'thread')}" if threads else ""
    yield f"engine {net.executor.name}, {options.precision}{note}; seed {solver.seed}"
    if solver.ranks is not None:
        rows = batch_size(net)
        yield (
            f"{how_many(solver.ranks.size, 'rank')}: {how_many(rows, 'image')} in a batch of each, "
            f"{rows * solver.ranks.size} of all"
        )
    if solver.exchange is not None:
        yield solver.exchange.describe()
    if synthetic(net):
        yield SYNTHETIC
    if norms := batch_norms(net):
        together = solver.ranks.size if solver.ranks is not None and any(n.total for n in norms) else 1
        line = f"batch normalisation: statistics are taken over {how_many(batch_size(net) * together, 'example')}"
        if together > 1 and not all(n.total for n in norms):
            line += f" in layers of type SyncBN, over {batch_size(net)} in others"
        if solver.param.iter_size > 1:
            line += f"; iter_size {solver.param.iter_size} does not enlarge that"
        yield line
    if solver.iter:
        yield f"Resuming at iteration {solver.iter}"
