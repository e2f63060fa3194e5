"""Sections of curves: scores and losses over iterations, and by the statistics that nets are tested with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dragon.compare.report.axes import Axis, linear
from dragon.compare.report.csv_files import curve_file
from dragon.compare.report.html import charts, csv_link, figure_of, key, legend, section, signs, swatch, table
from dragon.compare.report.lines import Series, chart, plot, value_axis
from dragon.compare.report.tables import score
from dragon.compare.report.view import GLOBAL, STATISTICS, View, split_series
from dragon.compare.wording import figure, is_percent

__all__ = ["curve_sections", "over_iterations", "shared_axis", "variant_legend"]

Record = dict[str, Any]

_PROBE = "probe/"
_TRAIN_LOSS = "train/loss"
_EXTRA_COLOUR = 3  # of running averages, so that they differ from the colours of most variants


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
    axis = y or value_axis(view.axis_name(base), points)
    return plot(title, lines, x, axis, figure, view.chance(base))


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
                ended = points[-1:] if view.failed(cell) else []
                line = Series(label, colour, points, dashed, not loss, loss and cell["variant"] in wide, crosses=ended)
                lines.append(line)
    return lines


def shared_axis(view: View, cells: Sequence[Record], base: str) -> Axis | None:
    """The axis of values for several charts of a series, so that they can be compared; None without a value."""
    values = [p for line in _lines(view, cells, base, False) for p in line.points]
    return value_axis(view.axis_name(base), values) if values else None


def variant_legend(view: View, dashed: bool = False, cells: Sequence[Record] = (), figures: Sequence[str] = ()) -> str:
    """The key to charts with a line for each variant, or for each of `cells`. figures: whose signs are explained."""
    keys = [swatch(k, view.label(cell)) for k, cell in enumerate(cells)]
    keys = keys or [swatch(view.colour(name), name) for name in view.variants]
    if dashed:
        keys += [key(STATISTICS[GLOBAL]), key(STATISTICS["batch"], dashed=True)]
    return legend(keys + signs(figures))


# -- scores and losses ---------------------------------------------------------------------------------------
def curve_sections(view: View, drawn: str | None, csv: dict[str, str]) -> str:
    """Curves of the test's scores and of the training loss, and of other statistics. drawn: a series drawn above."""
    figures, links, dashed = [], "", False
    bases = dict.fromkeys(split_series(name)[0] for name in view.series_names())
    for base in sorted(filter(lambda name: _is_shown(view, name), bases), key=lambda name: not is_percent(name)):
        links += csv_link(curve_file(base), csv.get(base))
        if base == drawn and len(view.panels(view.cells)) == 1:
            continue
        dashed |= f"{base}@batch" in view.series_names()
        shared = shared_axis(view, view.cells, base)
        for levels, cells in view.panels(view.cells).items():
            title = view.axis_name(base).removesuffix(", %").capitalize() + (f", {levels}" if levels else "")
            svg = over_iterations(view, cells, base, title, y=shared)
            if svg:
                figures.append(figure_of(title, svg))
    shown = variant_legend(view, dashed, figures=figures) + charts(figures) if figures else ""
    return section("Curves", shown, link=links) + _by_statistics(view)


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
    drawn = [p for cell, found in several for rule in found for p in view.points(cell, series_of(rule, base))]
    shared = value_axis(view.axis_name(base), drawn) if drawn else None
    for cell, found in several:
        lines = [
            Series(titles.get(rule, rule), rules.index(rule) + _EXTRA_COLOUR, view.points(cell, series_of(rule, base)))
            for rule in found
        ]
        title = view.label(cell)
        figures.append(figure_of(title, chart(title, lines, "iteration", view.axis_name(base), figure, y=shared)))
    keys = [swatch(k + _EXTRA_COLOUR, titles.get(rule, rule)) for k, rule in enumerate(rules)]
    return section(
        "By which statistics",
        "<p>The same trained weights, tested with the mean and variance that each rule for the running average gives "
        "(CAFFE: fraction 0.999; EMA and LATEST: decay 0.95; CUMULATIVE: plain mean of all batches since the start), "
        "or with those of a pass over the training set (exact).</p>",
        table(["Variant", *(titles.get(rule, rule) for rule in rules)], rows),
        legend(keys),
        charts(figures),
    )
