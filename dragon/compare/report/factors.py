"""Charts of a metric over the levels of a factor, such as the accuracy against the learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dragon.compare.report.axes import Axis, linear, logarithmic, named
from dragon.compare.report.html import charts, figure_of, legend, section, signs, swatch
from dragon.compare.report.lines import Point, Series, plot, value_axis
from dragon.compare.report.view import View, split_series
from dragon.compare.wording import figure, is_percent, level_text

__all__ = ["against", "rate_section", "unit_of"]

Record = dict[str, Any]

_RATE = "base_lr"
_LEVELS = 3  # of a rate that make a curve


def unit_of(view: View, metric: str) -> tuple[float, str]:
    """The factor by which a metric is multiplied for a chart, and the name of the axis with its unit."""
    share = view.share(metric)
    return (100.0 if share else 1.0), metric.replace("_", " ") + (", %" if share else "")


def _title(metric: str, over: str) -> str:
    return f"{metric.replace('_', ' ').capitalize()} against {over}"


def against(view: View, metric: str, over: str, cells: Sequence[Record], log: bool) -> str:
    """A figure with a line for each group of cells that differ in the factor `over` alone, and its key.

    log: whether the axis of a numeric factor is logarithmic; that of the learning rate always is.
    """
    k, axis_name = unit_of(view, metric)
    groups: dict[str, list[Record]] = {}
    for cell in cells:
        groups.setdefault(view.label(cell, [over]), []).append(cell)
    alone = len(groups) == len({c["variant"] for c in cells})
    levels = _levels(view, over, cells)
    lines = [
        _line(view, metric, over, some, levels, name, view.colour(str(some[0]["variant"])) if alone else n)
        for n, (name, some) in enumerate(groups.items())
    ]
    points = [p for line in lines for p in (*line.points, *line.crosses)]
    if not any(line.points for line in lines):
        return ""
    title, chance = _title(metric, over), view.chance(view.series_of(metric))
    y = value_axis(axis_name, points, log=None if k == 1 else False)
    svg = plot(title, lines, _axis(over, levels, log), y, figure, chance)
    keys = [swatch(line.colour, line.name) for line in lines]
    return figure_of(title, svg) + legend(keys + signs([svg]))


def rate_section(view: View) -> str:
    """The accuracy against the learning rate, a chart for each combination of other levels, all on one scale.

    Empty where the rate has fewer than three levels or the first picture shows it.
    """
    metric = next((m for m in view.metric_names() if is_percent(split_series(m)[0]) and m in view.known()), None)
    levels = _levels(view, _RATE, view.cells)
    picture = view.about_or_top("picture", None) or {}
    shown = (picture.get("metric"), picture.get("over")) == (metric, _RATE) and not picture.get("where")
    if metric is None or shown or len(levels) < _LEVELS or not _numeric(levels):
        return ""
    k, axis_name = unit_of(view, metric)
    panels = {name: _variants(view, metric, some, levels) for name, some in view.panels(view.cells, [_RATE]).items()}
    points = [p for lines in panels.values() for line in lines for p in (*line.points, *line.crosses)]
    if not points:
        return ""
    y = value_axis(axis_name, points, log=None if k == 1 else False)
    chance, figures = view.chance(view.series_of(metric)), []
    for name, lines in panels.items():
        title = ", ".join(part for part in (_title(metric, _RATE), name) if part)
        figures.append(figure_of(title, plot(title, lines, _axis(_RATE, levels, True), y, figure, chance)))
    keys = [swatch(view.colour(name), name) for name in view.variants]
    return section("Against the learning rate", legend(keys + signs(figures)), charts(figures))


def _variants(view: View, metric: str, cells: Sequence[Record], levels: Sequence[Any]) -> list[Series]:
    by_variant: dict[str, list[Record]] = {}
    for cell in cells:
        by_variant.setdefault(str(cell["variant"]), []).append(cell)
    return [_line(view, metric, _RATE, some, levels, name, view.colour(name)) for name, some in by_variant.items()]


def _levels(view: View, over: str, cells: Sequence[Record]) -> list[Any]:
    return list(dict.fromkeys(view.level(c, over) for c in cells if view.level(c, over) is not None))


def _numeric(levels: Sequence[Any]) -> bool:
    return all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in levels)


def _line(
    view: View, metric: str, over: str, cells: Sequence[Record], levels: Sequence[Any], name: str, colour: int
) -> Series:
    k, points, crosses = unit_of(view, metric)[0], [], []
    for cell in cells:
        entry, level = cell["metrics"].get(metric) or {}, view.level(cell, over)
        if level is None or entry.get("mean") is None:
            continue
        x = float(level) if _numeric(levels) else float(levels.index(level))
        points.append(Point(x, *(k * entry.get(e, entry["mean"]) for e in ("mean", "low", "high"))))
        values = entry.get("values") or []
        if len(values) == len(cell["seeds"]):
            crosses += [Point(x, *[k * values[n]] * 3) for n in view.failed(cell) if values[n] is not None]
    return Series(name, colour, sorted(points, key=lambda p: p.x), bars=True, crosses=crosses)


def _axis(over: str, levels: Sequence[Any], log: bool) -> Axis:
    if not _numeric(levels):
        return named(over, [level_text(v) for v in levels])
    low, high = float(min(levels)), float(max(levels))
    if (log or over == _RATE) and low > 0:
        return logarithmic(over, low, high, [float(v) for v in sorted(levels)])
    span = (high - low) or 1.0
    return linear(over, low - 0.04 * span, high + 0.04 * span)
