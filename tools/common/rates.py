"""Plots of the last values of runs against their learning rates, and the line of what guessing scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dragon.errors import UsageError
from dragon.files.caffe_log import Row
from dragon.tools.common.curves import CROSS

__all__ = ["against_rate", "chance_line"]

_RATE = "LearningRate"


def chance_line(axes: Any, name: str, chance: float | None) -> None:
    """A dotted line at what guessing scores in an accuracy or a loss; nothing for other outputs."""
    height = _chance_of(name, chance)
    if height is not None:
        axes.axhline(height, color="gray", linestyle=":", linewidth=1.4, label="chance")
        axes.legend(fontsize="small")


def _chance_of(name: str, chance: float | None) -> float | None:
    if chance is None or not ("accuracy" in name or "loss" in name):
        return None
    return chance if "accuracy" in name else -math.log(chance)


def against_rate(
    axes: Any, name: str, runs: Sequence[tuple[str, Sequence[tuple[str, Sequence[Row]]]]], chance: float | None
) -> None:
    """Plot the last value of an output over the highest learning rate of each run, a line for the runs of each net.

    runs: the net, and its tables (train first) by name. A run that diverged is a cross at what guessing scores, or at
    the bottom where that is not known. Raises UsageError for a run whose log states no rate above 0.
    """
    lines: dict[str, list[tuple[float, float]]] = {}
    for net, tables in runs:
        rates = [row[_RATE] for _, rows in tables for row in rows if math.isfinite(row.get(_RATE, math.nan))]
        rate = max(rates, default=0.0)
        if rate <= 0:
            raise UsageError(f"--x rate: the log of {net} states no learning rate above 0")
        diverged = any(not math.isfinite(v) for row in tables[0][1] for k, v in row.items() if "loss" in k)
        for which, rows in tables:
            values = [row[name] for row in rows if name in row]
            if values:
                lines.setdefault(f"{net} {which}", []).append((rate, math.nan if diverged else values[-1]))
    axes.set_xscale("log")
    height = _chance_of(name, chance)
    for color, (label, points) in enumerate(lines.items()):
        finite = sorted(p for p in points if math.isfinite(p[1]))
        axes.plot([x for x, _ in finite], [y for _, y in finite], marker="o", color=f"C{color}", label=label)
        lost = [x for x, y in points if not math.isfinite(y)]
        if lost:
            place = {} if height is not None else {"transform": axes.get_xaxis_transform()}
            ys = [0.03 if height is None else height] * len(lost)
            axes.plot(lost, ys, color=f"C{color}", label=f"{label}, diverged", **CROSS, **place)
    axes.set_xlabel("learning rate")
    axes.set_ylabel(name)
    axes.grid(alpha=0.3)
    if lines:
        axes.legend(fontsize="small")
    chance_line(axes, name, chance)
