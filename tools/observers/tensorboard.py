"""TensorBoard: losses, learning rate, test scores, probes, and histograms of weights and gradients as event files."""

from __future__ import annotations

import math
from collections import OrderedDict
from pathlib import Path

import numpy as np

from dragon.files.events import EventFile, need_tensorboard
from dragon.memory.storage import Array
from dragon.probes.observer import ProbeObserver
from dragon.solver.meter import Lap, Meter
from dragon.solver.solver import Observer, Solver
from dragon.tools.observers.forgiving import Forgiving
from dragon.tools.observers.vitals import Vitals

__all__ = ["TensorBoardObserver"]

_HISTOGRAMS = 50  # of each blob over a whole training


class TensorBoardObserver(Observer):
    """Writes an event file into `folder`. It only looks at the solver: the training stays as it is.

    Training loss, rate, speed and the vitals at each display; scores at each test, under test/ for the first test net,
    test_1/ for the next; probes where they were measured; histograms at most 50 times. A run that goes on from a
    snapshot replaces what was written past its iteration. Raises UsageError without the package that writes such files.
    """

    def __init__(self, folder: Path, meter: Meter, vitals: Vitals | None = None) -> None:
        need_tensorboard()
        self._folder = folder
        self._vitals = vitals
        self._meter = meter
        self._lap = Lap(meter)
        self._file: EventFile | None = None
        self._start = 0
        self._shown = -1  # the last iteration whose loss was written
        self._next_histogram = 0
        self._written: dict[str, int] = {}  # points of each probe's series

    def on_start(self, solver: Solver) -> None:
        self._file = EventFile(self._folder, solver.iter)
        self._start = self._next_histogram = solver.iter

    def on_display(self, solver: Solver, loss: float, rate: float) -> None:
        done, seconds = self._lap.take()
        self._shown = solver.iter
        self._scalar("train/loss", loss, solver.iter)
        self._scalar("train/rate", rate, solver.iter)
        for name, value in solver.net.output_values().items():
            if np.size(value) == 1 and name != "loss":
                self._scalar(f"train/{name}", float(np.ravel(value)[0]), solver.iter)
        if seconds:
            self._scalar("train/images_per_second", done * self._meter.images / seconds, solver.iter)
        if self._vitals is not None:
            for name, figure in self._vitals.values.items():
                self._scalar(f"train/{name}", figure, solver.iter)
        if solver.iter >= self._next_histogram:
            self._next_histogram = solver.iter + max(1, solver.param.max_iter // _HISTOGRAMS)
            self._histograms(solver)
        self._catch_up(solver)

    def on_test(self, solver: Solver, index: int, scores: OrderedDict[str, Array]) -> None:
        if not solver.param.display:
            self._loss(solver)
        which = f"_{index}" if index else ""
        for name, value in scores.items():
            if np.size(value) == 1:
                self._scalar(f"test{which}/{name}", float(np.ravel(value)[0]), solver.iter)
        self._catch_up(solver)

    def on_end(self, solver: Solver) -> None:
        if self._file is None:
            return
        try:
            self._loss(solver)
            self._catch_up(solver)
        finally:
            file, self._file = self._file, None
            file.close()

    def _scalar(self, name: str, value: float, iteration: int) -> None:
        if self._file is not None and math.isfinite(value):
            self._file.scalar(name, value, iteration)

    def _loss(self, solver: Solver) -> None:
        """Write the training loss where no display did."""
        if solver.losses and self._shown != solver.iter:
            self._shown = solver.iter
            self._scalar("train/loss", solver.smoothed_loss(), solver.iter)

    def _histograms(self, solver: Solver) -> None:
        """Of every learned blob: its values and its gradient, which the net holds before the update."""
        if self._file is None:
            return
        for param in solver.net.learnable:
            self._file.histogram(f"weights/{param.layer}/{param.index}", param.blob.peek(), solver.iter)
            self._file.histogram(f"gradients/{param.layer}/{param.index}", param.blob.peek_diff(), solver.iter)
        self._meter.skip()

    def _catch_up(self, solver: Solver) -> None:
        """Write what probes have measured since the last time, and flush now and then."""
        for observer in solver.observers:
            inner = observer.inner if isinstance(observer, Forgiving) else observer
            if isinstance(inner, ProbeObserver):
                for name, (iterations, values) in inner.series().items():
                    begin = self._written.get(name, 0)
                    self._written[name] = len(values)
                    for iteration, value in zip(iterations[begin:], values[begin:], strict=True):
                        if value is not None and iteration >= self._start:  # older ones are in an older file
                            self._scalar(name, value, iteration)
        if self._file is not None:
            self._file.flush()
