"""ProbeObserver: measures probes along a training run, without a trace in it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dragon.errors import UsageError, WeightsError
from dragon.probes.probe import AT_END, Probe
from dragon.probes.run import Run
from dragon.solver.observer import Observer
from dragon.solver.solver import Solver

__all__ = ["OnValues", "ProbeObserver", "Values", "check_titles", "measure"]

Values = dict[str, float | None]
OnValues = Callable[[Solver, Probe, Values], None]
Series = dict[str, list[list[Any]]]


def measure(probe: Probe, run: Run) -> Values:
    """The values of a probe now, by key; None for NaN and infinities."""
    with np.errstate(all="ignore"):
        found = {key: float(value) for key, value in probe.measure(run).items()}
    return {key: value if math.isfinite(value) else None for key, value in found.items()}


def check_titles(probes: Sequence[Probe]) -> None:
    """Raise UsageError where two probes would write the same series."""
    titles = [probe.title for probe in probes]
    for title in titles:
        if titles.count(title) > 1:
            raise UsageError(f'probe "{title}" is given twice: tell them apart by label=NAME')


class ProbeObserver(Observer):
    """Measures each probe at iteration 0, after every `every` updates, and when training ends as it should.

    on_values: gets each measurement as well, unless it has no values. A run that goes on from a snapshot gives the same
    series if the owner of the observer saves `state` with the snapshot and gives it to `load_state` before training
    starts.
    """

    def __init__(self, probes: Sequence[Probe], on_values: OnValues | None = None) -> None:
        check_titles(probes)
        self.probes = list(probes)
        self.seconds = 0.0  # that probes took so far
        self._on_values = on_values
        self._series: Series = {}
        self._done: dict[str, int] = {}  # the last iteration that each probe was measured at, by title
        self._loaded: dict[str, Any] = {}
        self._run: Run | None = None
        base = Probe.after_iteration
        self._following = [probe for probe in self.probes if type(probe).after_iteration is not base]

    # -- results --------------------------------------------------------------------------------------------
    def series(self) -> Series:
        """The values so far: "probe/TITLE/KEY" -> [iterations, values]; a value is None for NaN and infinities."""
        return self._series

    def state(self) -> dict[str, Any]:
        """Series and states of the probes, for JSON."""
        states = {probe.title: state for probe in self.probes if (state := probe.state())}
        series = {key: [list(axis) for axis in axes] for key, axes in self._series.items()}
        return {"series": series, "done": dict(self._done), "states": states, "seconds": self.seconds}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned, for the probes that are here; takes effect when training starts.

        Raises WeightsError for a damaged state.
        """
        try:
            titles = {probe.title for probe in self.probes}
            for key, (iterations, values) in state["series"].items():
                if key.split("/")[1] in titles:
                    self._series[key] = [
                        [int(i) for i in iterations],
                        [None if v is None else float(v) for v in values],
                    ]
            self._done = {title: int(state["done"][title]) for title in titles & set(state["done"])}
            self._loaded = {title: dict(state["states"][title]) for title in titles & set(state["states"])}
            self.seconds = float(state["seconds"])
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError):
            raise WeightsError("not the state of probes, or damaged") from None

    # -- the solver's calls ---------------------------------------------------------------------------------
    def on_start(self, solver: Solver) -> None:
        began = time.perf_counter()
        self._run = run = Run.of(solver)
        for probe in self.probes:
            if probe.title in self._loaded:
                probe.load_state(self._loaded.pop(probe.title))
            with probe.named():
                probe.start(run)
        self._at(solver, run)
        self.seconds += time.perf_counter() - began

    def on_iteration(self, solver: Solver, loss: float, rate: float) -> None:
        if self._run is None or not (self._following or self._due(solver.iter) or self._next(solver)):
            return
        began = time.perf_counter()
        for probe in self._following:
            with probe.named():
                probe.after_iteration(self._run)
        self._at(solver, self._run)
        self.seconds += time.perf_counter() - began

    def on_end(self, solver: Solver) -> None:
        run, self._run = self._run, None
        if run is None:
            return
        began = time.perf_counter()
        try:
            if solver.failure is None and not solver.stopped:
                run.begin_measurement()
                for probe in self.probes:
                    self._measure(probe, solver, run)
        finally:
            for probe in self.probes:
                probe.close()
            run.close()
            self.seconds += time.perf_counter() - began

    # -- measuring ------------------------------------------------------------------------------------------
    def _due(self, iteration: int) -> list[Probe]:
        return [probe for probe in self.probes if probe.every != AT_END and iteration % probe.every == 0]

    def _next(self, solver: Solver) -> list[Probe]:
        """The probes to be measured after one more update."""
        left = solver.param.max_iter - solver.iter
        return self.probes if left == 1 else self._due(solver.iter + 1) if left else []

    def _at(self, solver: Solver, run: Run) -> None:
        run.begin_measurement()
        for probe in self._due(solver.iter):
            self._measure(probe, solver, run)
        for probe in self._next(solver):
            with probe.named():
                probe.before_measure(run)

    def _measure(self, probe: Probe, solver: Solver, run: Run) -> None:
        if self._done.get(probe.title) == solver.iter:
            return
        with probe.named():
            values = measure(probe, run)
        self._done[probe.title] = solver.iter
        for key, value in values.items():
            iterations, numbers = self._series.setdefault(f"probe/{probe.title}/{key}", [[], []])
            iterations.append(solver.iter)
            numbers.append(value)
        if values and self._on_values is not None:
            self._on_values(solver, probe, values)
