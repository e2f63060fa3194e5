"""Sections of curves: scores and losses over iterations, the statistics that nets are tested with, probes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dragon.compare.report.axes import Axis, linear, named
from dragon.compare.report.csv_files import curve_file
from dragon.compare.report.html import csv_link, details, figure_of, key, legend, section, swatch, table
from dragon.compare.report.lines import Point, Series, chart, plot, value_axis
from dragon.compare.report.tables import score
from dragon.compare.report.view import GLOBAL, STATISTICS, View, split_series
from dragon.compare.wording import figure, is_percent

__all__ = ["curve_sections", "over_iterations", "probe_sections", "variant_legend"]

Record = dict[str, Any]

_PROBE = "probe/"
_TRAIN_LOSS = "train/loss"
_PANELS = 12  # charts of one section that are shown at once
_EXTRA_COLOUR = 3  # of running averages, so that they differ from the colours of most variants
_FEW_KEYS = 6  # of a probe: each gets a chart over iterations


def over_iterations(
    view: View, cells: Sequence[Record], base: str, title: str, by_cell: bool = False, y: Axis | None = None
) -> str:
    """A chart of a series over iterations: solid by running statistics, dashed by those of the batch.

    by_cell: a colour for each cell instead of each variant. y: the axis of values, by default of these cells alone.
    """
    lines = _lines(view, cells, base, by_cell)
    points = [p for line in lines for p in line.points]
    if not points:
        return ""
    x = linear("iteration", 0.0, max(p.x for p in points) or 1.0, 4)
    return plot(title, lines, x, y or value_axis(view.axis_name(base), points), figure)


def _lines(view: View, cells: Sequence[Record], base: str, by_cell: bool) -> list[Series]:
    wide = {pair["first"] for pair in view.pairs}  # so that the other one is visible on top of it
    lines = []
    for k, cell in enumerate(cells):
        colour = k if by_cell else view.colour(str(cell["variant"]))
        for name, dashed in ((base, False), (f"{base}@batch", True)):
            points = view.points(cell, name)
            if points:
                loss = base == _TRAIN_LOSS
                label = view.label(cell) + (" (batch statistics)" if dashed else "")
                lines.append(Series(label, colour, points, dashed, not loss, loss and cell["variant"] in wide))
    return lines


def variant_legend(view: View, dashed: bool = False, cells: Sequence[Record] = ()) -> str:
    """The key to charts with a line for each variant, or for each of `cells`."""
    keys = [swatch(k, view.label(cell)) for k, cell in enumerate(cells)]
    keys = keys or [swatch(view.colour(name), name) for name in view.variants]
    if dashed:
        keys += [key(STATISTICS[GLOBAL]), key(STATISTICS["batch"], dashed=True)]
    return legend(keys)


def _grid(figures: Sequence[str]) -> str:
    shown, rest = figures[:_PANELS], figures[_PANELS:]
    more = details(f"{len(rest)} more charts", f'<div class="charts">{"".join(rest)}</div>') if rest else ""
    return f'<div class="charts">{"".join(shown)}</div>{more}'


# -- scores and losses ---------------------------------------------------------------------------------------
def curve_sections(view: View, drawn: str | None, csv: dict[str, str]) -> str:
    """Curves of the test's scores and of the training loss, and of other statistics. drawn: a series drawn above."""
    figures, links, dashed = [], "", False
    wanted = [
        base for base in dict.fromkeys(split_series(name)[0] for name in view.series_names()) if _is_shown(view, base)
    ]
    for base in wanted:
        links += csv_link(curve_file(base), csv.get(base))
        if base == drawn and len(view.panels(view.cells)) == 1:
            continue
        dashed |= f"{base}@batch" in view.series_names()
        values = [p for line in _lines(view, view.cells, base, False) for p in line.points]
        shared = value_axis(view.axis_name(base), values) if values else None  # so that charts can be compared
        for levels, cells in view.panels(view.cells).items():
            title = view.axis_name(base).removesuffix(", %").capitalize() + (f", {levels}" if levels else "")
            svg = over_iterations(view, cells, base, title, y=shared)
            if svg:
                figures.append(figure_of(title, svg))
    charts = variant_legend(view, dashed) + _grid(figures) if figures else ""
    return section("Curves", charts, link=links) + _by_statistics(view)


def _is_shown(view: View, base: str) -> bool:
    """Accuracies, the training loss, and what a metric is made of; the others are in the CSV files."""
    if base.startswith(_PROBE) or base == "rate":
        return False
    asked = {split_series(name)[0] for name in view.asked_series()}
    scores = [split_series(name)[0] for name in view.series_names() if name.startswith("test/")]
    accurate = any(map(is_percent, scores))
    return base == _TRAIN_LOSS or base in asked or is_percent(base) or (base in scores and not accurate)


def _by_statistics(view: View) -> str:
    """Final scores and curves of cells that were tested with more than their own and the batch's statistics."""
    name = next((n for n in view.metric_names() if is_percent(n)), "")
    base = f"test/{split_series(name)[0]}"
    several = [
        (cell, found)
        for cell in view.cells
        if set(found := [s for n in cell.get("curves") or {} for b, s in [split_series(n)] if b == base])
        - {GLOBAL, "batch"}
    ]
    if not several:
        return ""
    rules = list(dict.fromkeys(rule for _, found in several for rule in found))
    titles = {**STATISTICS, GLOBAL: "the net's own average", "batch": "none: statistics of the test batch"}

    def series_of(rule: str, of: str) -> str:
        return of if rule == GLOBAL else f"{of}@{rule}"

    rows = [
        [
            swatch(view.colour(str(cell["variant"])), view.label(cell)),
            *(
                score(view, split_series(name)[0], cell["metrics"].get(series_of(r, split_series(name)[0])))
                for r in rules
            ),
        ]
        for cell, _ in several
    ]
    figures = []
    for cell, found in several:
        lines = [
            Series(titles.get(rule, rule), rules.index(rule) + _EXTRA_COLOUR, view.points(cell, series_of(rule, base)))
            for rule in found
        ]
        title = view.label(cell)
        figures.append(figure_of(title, chart(title, lines, "iteration", view.axis_name(base), figure)))
    keys = [swatch(k + _EXTRA_COLOUR, titles.get(rule, rule)) for k, rule in enumerate(rules)]
    return section(
        "By which statistics",
        "<p>The same trained weights, tested with the mean and variance that each rule for the running average gives "
        "(CAFFE: fraction 0.999; EMA and LATEST: decay 0.95; CUMULATIVE: plain mean of all batches since the start), "
        "or with those of a pass over the training set (exact).</p>",
        table(["Variant", *(titles.get(rule, rule) for rule in rules)], rows),
        legend(keys),
        _grid(figures),
    )


# -- probes --------------------------------------------------------------------------------------------------
def probe_sections(view: View, csv: dict[str, str]) -> str:
    """A section for each probe: its values over iterations, and from layer to layer at the first and the last one."""
    probes: dict[str, list[str]] = {}
    for name in view.series_names():
        if name.startswith(_PROBE):
            _, probe, *rest = name.split("/")
            probes.setdefault(probe, []).append("/".join(rest))
    return "".join(_probe(view, probe, keys, csv) for probe, keys in probes.items())


def _probe(view: View, probe: str, keys: Sequence[str], csv: dict[str, str]) -> str:
    words = probe.replace("_", " ")
    panels = view.panels(view.cells)
    over: list[str] = []
    for one in keys:
        name = f"{_PROBE}{probe}/{one}"
        for levels, cells in panels.items():
            title = ", ".join(part for part in (_upper(f"{words} {one}".strip()), levels) if part)
            lines = [Series(view.label(c), view.colour(str(c["variant"])), view.points(c, name)) for c in cells]
            points = [p for line in lines for p in line.points]
            if not points:
                continue
            end = max(p.x for p in points)
            axis = linear("iteration", 0, end or 1, 4)
            over.append(figure_of(title, plot(title, lines, axis, value_axis(words, points), figure)))
    profiles = _profiles(view, probe, keys) if len(keys) > 2 else []
    few = len(keys) <= _FEW_KEYS
    charts = _grid([*profiles, *(over if few else [])])
    rest = "" if few else details(f"Over iterations, {len(keys)} charts of each cell", _grid(over))
    link = csv_link(curve_file(f"{_PROBE}{probe}"), csv.get(f"{_PROBE}{probe}"))
    return section(_upper(words), variant_legend(view), charts, rest, link=link)


def _profiles(view: View, probe: str, keys: Sequence[str]) -> list[str]:
    """Charts from key to key, usually from layer to layer, at the first and at the last measured iteration."""
    figures = []
    words = probe.replace("_", " ")
    for levels, cells in view.panels(view.cells).items():
        for place, when in ((0, "first"), (-1, "last")):
            lines, at = [], 0
            for cell in cells:
                points = []
                for k, one in enumerate(keys):
                    found = view.points(cell, f"{_PROBE}{probe}/{one}")
                    if found:
                        p, at = found[place], int(found[place].x)
                        points.append(Point(k, p.y, p.low, p.high))
                lines.append(Series(view.label(cell), view.colour(str(cell["variant"])), points, bars=True))
            values = [p for line in lines for p in line.points]
            if values:
                title = ", ".join(part for part in (_upper(f"{words} at iteration {at:,} ({when})"), levels) if part)
                figures.append(
                    figure_of(title, plot(title, lines, named("layer or key", keys), value_axis(words, values), figure))
                )
    return figures


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
