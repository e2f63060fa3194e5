"""Helpers for plots of training curves: figures, axes of iterations, and a limit of the y axis."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterable, Sequence
from typing import Any

from dragon.errors import UsageError
from dragon.extras import install_command

__all__ = [
    "CROSS",
    "cut_high_start",
    "mark_divergence",
    "new_figure",
    "plot_problem",
    "reasonable_top",
    "whole_iterations",
]


# how a run that diverged is marked
CROSS: dict[str, Any] = {"linestyle": "", "marker": "x", "markersize": 9, "mew": 2.5, "gid": "diverged"}


def plot_problem() -> str:
    """Why nothing can be plotted: matplotlib is not installed; "" where it is."""
    there = importlib.util.find_spec("matplotlib") is not None
    return "" if there else f"plots need a package: {install_command('plot')}"


def new_figure(width: float, height: float) -> Any:
    """A figure of matplotlib, in inches, without pyplot, which looks for a display and keeps global state.

    Raises UsageError where matplotlib is not installed.
    """
    if problem := plot_problem():
        raise UsageError(problem)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def whole_iterations(axes: Any) -> None:
    """Put the ticks of the x axis at integers, even if there is only one; to be called after all curves are drawn."""
    from matplotlib.ticker import MaxNLocator

    low, high = axes.get_xlim()
    if high - low < 2:
        axes.set_xlim((low + high) / 2 - 1, (low + high) / 2 + 1)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, steps=[1, 2, 2.5, 5, 10], min_n_ticks=1))


def cut_high_start(axes: Any, curves: Sequence[Sequence[float]]) -> None:
    """Limit the y axis if a first value is far above the rest, and annotate the plot with it."""
    top = reasonable_top(curves)
    if top is None:
        return
    finite = [y for ys in curves for y in ys if math.isfinite(y)]
    highest, lowest = max(finite), min(finite)
    axes.set_ylim(lowest - 0.05 * (top - lowest), top)  # the lower limit too, since it was chosen for the full range
    axes.annotate(
        f"starts at {highest:.3g}, above the picture", (0.02, 0.98), xycoords="axes fraction", va="top",
        fontsize="small", color="gray",
    )  # fmt: skip


def mark_divergence(axes: Any, xs: Sequence[float], ys: Sequence[float], color: str) -> None:
    """A cross at the last finite value of a curve that becomes NaN or infinite."""
    end = next((k for k, y in enumerate(ys) if not math.isfinite(y)), 0)
    if end:
        axes.plot([xs[end - 1]], [ys[end - 1]], color=color, **CROSS)


def reasonable_top(curves: Iterable[Sequence[float]]) -> float | None:
    """A limit of the y axis if a first value is far above all others, as with untrained statistics; otherwise None."""
    drawn = [[y for y in ys if math.isfinite(y)] for ys in curves]
    rest = max((y for ys in drawn for y in ys[1:]), default=0.0)
    first = max((ys[0] for ys in drawn if ys), default=0.0)
    if not 0 < 3 * rest < first:
        return None
    return 1.2 * max(y for ys in drawn for y in ys if y <= 3 * rest)
