"""A progress bar on a terminal with iterations, loss, accuracy, images per second and time left."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from contextlib import suppress
from datetime import timedelta

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from dragon.counting import how_many
from dragon.graph.facts import accuracy_names, synthetic
from dragon.memory.storage import Array
from dragon.solver.meter import Meter
from dragon.solver.solver import Observer, Solver

__all__ = ["ConsoleHandler", "ProgressObserver"]

_INTERVAL = 0.25  # seconds between two updates


class ProgressObserver(Observer):
    """Shows the progress bar; without a thread, which would slow down training."""

    def __init__(self, meter: Meter, console: Console) -> None:
        self._meter = meter
        self.console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[text]}"),
            console=console,
            auto_refresh=False,
            expand=True,
        )
        self._task = self._bar.add_task("training", text="", visible=False)
        self._accuracy = ""
        self._drawn = 0.0
        self._note = ""

    def on_start(self, solver: Solver) -> None:
        self._note = " (SYNTHETIC data)" if synthetic(solver.net) else ""
        self._bar.update(self._task, total=solver.param.max_iter, completed=solver.iter, visible=True)
        self._bar.start()

    def on_iteration(self, solver: Solver, loss: float, rate: float) -> None:
        now = time.perf_counter()
        if now - self._drawn >= _INTERVAL:
            self._drawn = now
            self._draw(solver, "training", loss)

    def on_test_batch(self, solver: Solver, index: int, done: int, total: int) -> None:
        now = time.perf_counter()
        if now - self._drawn >= _INTERVAL:
            self._drawn = now
            self._draw(solver, f"test {done}/{total}", solver.smoothed_loss())

    def on_test(self, solver: Solver, index: int, scores: OrderedDict[str, Array]) -> None:
        names = accuracy_names(solver.test_nets[index])
        if names:
            self._accuracy = f"test accuracy {float(np.ravel(scores[names[0]])[0]):.2%}"
        found = ", ".join(
            f"{name} {float(value) + 0.0:.4g}" if value.size == 1 else f"{name} of {how_many(value.size, 'value')}"
            for name, value in scores.items()
        )
        which = f" net {index}" if len(solver.test_nets) > 1 else ""
        self._say(f"iteration {solver.iter}, test{which}: {found}{self._note}")

    def on_snapshot(self, solver: Solver, model: str, state: str) -> None:
        self._say(f"iteration {solver.iter}: snapshot {state}")

    def on_end(self, solver: Solver) -> None:
        if self._meter.iterations:
            how = "failed" if solver.failure is not None else "stopped" if solver.stopped else "trained"
            self._draw(solver, how, solver.smoothed_loss())
        self._bar.stop()

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _draw(self, solver: Solver, what: str, loss: float) -> None:
        facts = [f"{solver.iter}/{solver.param.max_iter}"]
        if solver.losses:
            facts.append(f"loss {loss + 0.0:.4g}")
        if self._accuracy:
            facts.append(self._accuracy)
        if self._meter.iterations:
            facts.append(f"{self._meter.images_per_second:,.0f} images/s")
        left = self._meter.seconds_left(solver)
        if left:
            facts.append(f"{timedelta(seconds=round(left))} left")
        self._bar.update(self._task, completed=solver.iter, description=what, text=", ".join(facts))
        self._bar.refresh()


class ConsoleHandler(logging.Handler):
    """Prints log lines above the bar."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):  # the terminal was closed: training continues
            self._console.print(self.format(record), markup=False, highlight=False, soft_wrap=True)
