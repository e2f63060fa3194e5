"""`dragon plot`: curves of training logs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from dragon.atomic import atomic_path
from dragon.caffe_log import Log, Row, read_log
from dragon.errors import UsageError, nearest

__all__ = ["command"]

_OTHERS = {"NumIters", "Seconds", "LearningRate"}


@click.command("plot")
@click.argument("logs", type=click.Path(dir_okay=False), nargs=-1, required=True)
@click.option(
    "--out", type=click.Path(dir_okay=False), default="curves.png", show_default=True, help="PNG, SVG or PDF."
)
@click.option("--x", "axis", type=click.Choice(["iterations", "seconds"]), default="iterations", show_default=True)
@click.option("--only", multiple=True, metavar="NAME", help="Show this output alone; may be repeated.")
@click.option("--log-y", is_flag=True, help="Logarithmic losses.")
def command(logs: tuple[str, ...], out: str, axis: str, only: tuple[str, ...], log_y: bool) -> None:
    """Plot the losses and accuracies of training LOGS, Dragon's or Caffe's: train as lines, tests with dots.

    \b
    Example: dragon plot plain.log bn.log --out curves.png --only accuracy
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    read = {path: read_log(path) for path in logs}
    names = _names(read, only)
    figure, axes = pyplot.subplots(len(names), 1, figsize=(8, 0.6 + 3 * len(names)), squeeze=False, sharex=True)
    try:
        for panel, name in zip(axes[:, 0], names, strict=True):
            _panel(panel, name, read, "NumIters" if axis == "iterations" else "Seconds")
            if log_y and "accuracy" not in name:
                panel.set_yscale("log")
        axes[-1, 0].set_xlabel("iteration" if axis == "iterations" else "seconds of training")
        figure.tight_layout()
        with atomic_path(out) as temporary:
            figure.savefig(temporary, format=Path(out).suffix.lstrip(".").lower() or "png", dpi=120)
    except ValueError as error:
        raise UsageError(f"{out}: {error}") from None
    finally:
        pyplot.close(figure)
    click.echo(f"{out}: {', '.join(names)}")


def _tables(log: Log) -> list[tuple[str, list[Row]]]:
    many = len(log.tests) > 1
    return [("train", log.train)] + [(f"test {i}" if many else "test", rows) for i, rows in sorted(log.tests.items())]


def _names(logs: dict[str, Log], only: tuple[str, ...]) -> list[str]:
    """Outputs to show: those of nets; the solver's smoothed loss where a log tells of no other loss."""
    found: dict[str, None] = {}
    for log in logs.values():
        for _, rows in _tables(log):
            for row in rows:
                found.update(dict.fromkeys(k for k in row if k not in _OTHERS))
    for name in only:
        if name not in found:
            raise UsageError(f'no output "{name}" in the logs{nearest(name, found)}; there are {", ".join(found)}')
    if only:
        return list(only)
    plain = [name for name in found if name != "smoothed_loss"]
    return plain if any("loss" in name for name in plain) else list(found)


def _panel(panel: Any, name: str, logs: dict[str, Log], axis: str) -> None:
    for color, (path, log) in enumerate(logs.items()):
        label = f"{Path(path).stem} " if len(logs) > 1 else ""
        for which, rows in _tables(log):
            points = [(row[axis], row[name]) for row in rows if name in row and math.isfinite(row[axis])]
            if not points:
                continue
            train = which == "train"
            panel.plot(
                *zip(*points, strict=True), color=f"C{color}", marker="" if train else "o", markersize=4,
                alpha=0.55 if train else 1, linewidth=1 if train else 1.6, label=label + which,
            )  # fmt: skip
    panel.set_ylabel(name)
    panel.grid(alpha=0.3)
    if panel.has_data():
        panel.legend(fontsize="small")
