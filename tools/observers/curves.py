"""Draws curves.png: loss and accuracy over iterations, from the records of metrics.jsonl."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path

from dragon.files.atomic import atomic_write, remove_unfinished
from dragon.graph.facts import accuracy_names, synthetic
from dragon.graph.outputs import loss_weight
from dragon.memory.storage import Array
from dragon.solver.meter import Meter
from dragon.solver.solver import Observer, Solver
from dragon.tools.common.curves import cut_high_start, new_figure, plot_problem, whole_iterations
from dragon.tools.common.logs import log
from dragon.tools.observers.metrics import MetricsObserver, Record

__all__ = ["CurvesObserver", "draw_curves"]

_MIN_INTERVAL = 30.0  # seconds between two plots
_MAX_SHARE = 0.01  # of the time that plotting may take

Series = tuple[list[int], list[float]]


class CurvesObserver(Observer):
    """Plots at the end and after tests, seldom enough not to slow down training; not at all without matplotlib."""

    def __init__(self, path: Path, metrics: MetricsObserver, meter: Meter) -> None:
        self._path = path
        self._metrics = metrics
        self._meter = meter
        self._next = time.perf_counter() + _MIN_INTERVAL
        self._problem = plot_problem()

    def on_start(self, solver: Solver) -> None:
        if self._problem:
            log.info("%s is left out: %s", self._path.name, self._problem)
        if self._path.parent.is_dir() and not self._metrics.locked_out:
            remove_unfinished(self._path.parent, re.escape(self._path.name))

    def on_test(self, solver: Solver, index: int, scores: OrderedDict[str, Array]) -> None:
        if time.perf_counter() >= self._next:
            self._draw(solver)
            self._meter.skip()

    def on_end(self, solver: Solver) -> None:
        self._draw(solver)

    def _draw(self, solver: Solver) -> None:
        if self._metrics.locked_out or self._problem:
            return
        began = time.perf_counter()
        title = solver.net.name + (" on SYNTHETIC data" if synthetic(solver.net) else "")
        tests = solver.test_nets[:1]
        accuracies = [name for net in tests for name in accuracy_names(net)]
        losses = [name for net in tests for name in net.outputs if loss_weight(net, name)]
        draw_curves(self._path, self._metrics.records, title, losses, accuracies)
        now = time.perf_counter()
        self._next = now + max(_MIN_INTERVAL, (now - began) / _MAX_SHARE)


def draw_curves(
    path: Path, records: Sequence[Record], title: str, losses: Iterable[str], accuracies: Iterable[str]
) -> None:
    """Write the plot; does nothing if there is no point. losses, accuracies: outputs of the first test net.

    Raises OSError, and UsageError where matplotlib is not installed.
    """
    train = _series(records, "display", "loss")
    test_losses = {f"test {name}": _series(records, "test", name) for name in losses}
    test_accuracies = {f"test {name}": _series(records, "test", name) for name in accuracies}
    if not any(xs for xs, _ in [train, *test_losses.values(), *test_accuracies.values()]):
        return
    figure = new_figure(10 if test_accuracies else 6, 4.2)
    figure.suptitle(title)
    panels = [("loss", {"train loss": train, **test_losses})]
    if test_accuracies:
        panels.append(("accuracy", test_accuracies))
    for k, (label, curves) in enumerate(panels, 1):
        axes = figure.add_subplot(1, len(panels), k, sharex=figure.axes[0] if figure.axes else None)
        for name, (xs, ys) in curves.items():
            if xs:
                axes.plot(xs, ys, label=name, linewidth=1.3, marker="." if len(xs) < 40 else None)
        axes.set_xlabel("iteration")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
        if label == "loss":
            cut_high_start(axes, [ys for _, ys in curves.values()])
    whole_iterations(figure.axes[0])
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=110)


def _series(records: Sequence[Record], event: str, name: str) -> Series:
    """Iterations and values of a quantity: a field of display records, or an output in tests of net 0."""
    xs: list[int] = []
    ys: list[float] = []
    for record in records:
        if record["event"] != event or (event == "test" and record.get("net", 0) != 0):
            continue
        value = record.get(name) if event == "display" else record.get("outputs", {}).get(name)
        if isinstance(value, (int, float)):
            xs.append(record["iteration"])
            ys.append(float(value))
    return xs, ys
