"""`dragon plot`: plots curves of training runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from dragon.errors import UsageError, nearest
from dragon.files.atomic import atomic_write
from dragon.files.caffe_log import SMOOTHED_LOSS, Log, Row
from dragon.files.pictures import picture_format
from dragon.tools.common.curves import cut_high_start, mark_divergence, new_figure, whole_iterations
from dragon.tools.common.numbers import Real
from dragon.tools.common.outputs import OutputFile
from dragon.tools.common.phases import draw_phases, read_phases
from dragon.tools.common.rates import against_rate, chance_line
from dragon.tools.common.run_log import read_run, run_name
from dragon.tools.observers.metrics import PHASES

__all__ = ["command"]

_NOT_OUTPUTS = {"NumIters", "Seconds", "LearningRate"}
_AXES = {"iterations": ("NumIters", "iteration"), "seconds": ("Seconds", "seconds of training")}
_RATE = "rate"
_MAX_PANELS = 12  # panels
_TRAIN: dict[str, Any] = {"alpha": 0.55, "linewidth": 1}
_TESTS: list[dict[str, Any]] = [
    {"marker": marker, "linestyle": line, "markersize": 4, "linewidth": 1.6}
    for marker, line in (("o", "-"), ("s", "--"), ("^", "-."), ("D", ":"))
]


@dataclass
class _Run:
    label: str
    log: Log


@click.command("plot")
@click.argument("runs", type=click.Path(), nargs=-1, required=True)
@click.option("--out", type=OutputFile(), default="curves.png", show_default=True, help="A .png, .svg or .pdf.")
@click.option(
    "--x", "axis", type=click.Choice([*_AXES, _RATE]), default="iterations", show_default=True,
    help="rate: the last value of each run against its highest learning rate, on a logarithmic axis.",
)  # fmt: skip
@click.option(
    "--only", multiple=True, metavar="NAME",
    help=f"Show this output alone; may be repeated. {SMOOTHED_LOSS} is the loss that the log states for the iteration, "
    "a mean over average_loss ones.",
)  # fmt: skip
@click.option(
    "--chance", type=Real(0, 1), metavar="SHARE",
    help="A line at what guessing scores: this accuracy, such as 0.1 for ten classes, and the loss -log(SHARE).",
)  # fmt: skip
@click.option("--log-y", is_flag=True, help="Logarithmic losses.")
@click.option("--ranks", is_flag=True, help="Of one run on several ranks: how long each reads, computes and waits.")
def command(
    runs: tuple[str, ...], out: str, axis: str, only: tuple[str, ...], chance: float | None, log_y: bool, ranks: bool
) -> None:
    """Plot the losses and accuracies of training RUNS: train as lines, tests with dots, a cross where a run diverges.

    A run is a log (Dragon's or Caffe's), a metrics.jsonl, or the folder in which `dragon train` put one.

    \b
    Example: dragon plot runs/lenet --out curves.png
    Example: dragon plot runs/lenet runs/cifar10_quick --only accuracy
    Example: dragon plot runs/lenet/1 --ranks --out ranks.svg
    Example: dragon plot rate_*.log --x rate --chance 0.1 --out rates.svg
    """
    kind = picture_format(out, ("png", "svg", "pdf"), ("jpg", "jpeg", "eps", "ps"))
    if ranks:
        _plot_ranks(runs, out, kind)
        return
    read = [_Run(label, read_run(path)) for path, label in zip(runs, _labels(runs), strict=True)]
    if axis == "seconds" and not any(math.isfinite(r["Seconds"]) for run in read for t in run.log.tables() for r in t):
        raise UsageError("--x seconds: no line of the log tells its time")
    names = _names([run.log for run in read], only)
    shown = names[:_MAX_PANELS]
    columns = math.ceil(len(shown) / 4)
    rows = math.ceil(len(shown) / columns)
    figure = new_figure(8 if columns == 1 else 6 * columns, 0.9 + 3 * rows)
    figure.suptitle(_title(read))
    first: dict[str, Any] = {}  # panels of one kind share the scale of the first, so that they can be compared
    curves: dict[str, list[list[float]]] = {}
    for k, name in enumerate(shown, 1):
        group = _group(name)
        panel = figure.add_subplot(
            rows, columns, k, sharex=figure.axes[0] if figure.axes else None, sharey=first.get(group)
        )
        first.setdefault(group, panel)
        if axis == _RATE:
            against_rate(panel, name, [(run.log.net or run.label, _tables(run.log)) for run in read], chance)
        else:
            curves.setdefault(group, []).extend(_panel(panel, name, read, _AXES[axis][0]))
            panel.set_xlabel(_AXES[axis][1])
            chance_line(panel, name, chance)
    for name, panel in zip(shown, figure.axes, strict=True):
        if "accuracy" in name:
            continue
        if log_y:
            panel.set_yscale("log")
        elif axis != _RATE:
            cut_high_start(panel, curves[_group(name)])
    if axis == "iterations":
        whole_iterations(figure.axes[0])
    with atomic_write(out) as file:
        figure.savefig(file, format=kind, dpi=120)
    rest = f" (the first {_MAX_PANELS} of {len(names)}; --only picks others)" if len(names) > _MAX_PANELS else ""
    click.echo(f"{out}: {', '.join(shown)}{rest}")


def _plot_ranks(runs: Sequence[str], out: str, kind: str) -> None:
    if len(runs) != 1:
        raise UsageError(f"--ranks plots one run, got {len(runs)}")
    figure = draw_phases(read_phases(runs[0]), run_name(runs[0]))
    with atomic_write(out) as file:
        figure.savefig(file, format=kind, dpi=120)
    click.echo(f"{out}: {', '.join(PHASES)}")


def _group(name: str) -> str:
    """What a panel is compared with: accuracies with each other, losses with each other, others with nothing."""
    return next((kind for kind in ("accuracy", "loss") if kind in name), name)


def _labels(paths: Sequence[str]) -> list[str]:
    """Short labels of the runs, file or folder names; whole paths if those are not distinct."""
    short = [run_name(path).removesuffix(".log") for path in paths]
    return short if len(set(short)) == len(short) else list(paths)


def _title(runs: Sequence[_Run]) -> str:
    """The title: nets and, for a single run, its label; marks runs on synthetic data."""
    nets = list(dict.fromkeys(run.log.net for run in runs if run.log.net))
    title = ", ".join(nets[:3]) + ", .." * (len(nets) > 3)
    if len(runs) == 1 and runs[0].label != title:
        title = f"{title} ({runs[0].label})" if title else runs[0].label
    if all(run.log.synthetic for run in runs):
        title += " on SYNTHETIC data"
    return title


def _tables(log: Log) -> list[tuple[str, list[Row]]]:
    many = len(log.tests) > 1
    return [("train", log.train)] + [(f"test {i}" if many else "test", rows) for i, rows in sorted(log.tests.items())]


def _names(logs: Sequence[Log], only: tuple[str, ...]) -> list[str]:
    """The outputs to plot: those of nets, with the smoothed loss of the solver if there is no other loss."""
    found: dict[str, None] = {}
    for log in logs:
        for rows in log.tables():
            for row in rows:
                found.update(dict.fromkeys(k for k in row if k not in _NOT_OUTPUTS))
    plain = [name for name in found if name != SMOOTHED_LOSS]
    usual = plain if any("loss" in name for name in plain) else list(found)
    for name in only:
        if name not in found:
            raise UsageError(f'no output "{name}" in the logs{nearest(name, found)}; there are {", ".join(usual)}')
    return list(dict.fromkeys(only)) or usual


def _panel(panel: Any, name: str, runs: Sequence[_Run], axis: str) -> list[list[float]]:
    """Plot one output of all runs; returns the values of each curve."""
    drawn: list[list[float]] = []
    mixed = 0 < sum(run.log.synthetic for run in runs) < len(runs)
    for color, run in enumerate(runs):
        mark = " (SYNTHETIC data)" if mixed and run.log.synthetic else ""
        label = f"{run.label}{mark} " if len(runs) > 1 else ""
        for style, (which, rows) in enumerate(_tables(run.log)):
            points = [(row[axis], row[name]) for row in rows if name in row and math.isfinite(row[axis])]
            if not points:
                continue
            xs, ys = (list(values) for values in zip(*points, strict=True))
            look = _TESTS[(style - 1) % 4] if style else {**_TRAIN, "marker": "." if len(points) == 1 else ""}
            panel.plot(xs, ys, color=f"C{color}", label=label + which, **look)
            mark_divergence(panel, xs, ys, f"C{color}")
            drawn.append(ys)
    panel.set_ylabel(name)
    panel.grid(alpha=0.3)
    if drawn:
        panel.legend(fontsize="small")
    if not any(math.isfinite(y) for ys in drawn for y in ys):
        panel.annotate("NaN or infinite throughout", (0.5, 0.5), xycoords="axes fraction", ha="center", color="red")
    return drawn
