"""The first screen: claim, verdict with its interval, one picture and two sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from dragon.compare.contrasts import MIN_SEEDS, check_contrast
from dragon.compare.expectation import AGREES, DISAGREES, Expectation
from dragon.compare.grid_edges import edge_lines
from dragon.compare.pair_lines import pair_lines
from dragon.compare.report.curves import over_iterations, shared_axis, variant_legend
from dragon.compare.report.factors import against, unit_of
from dragon.compare.report.html import figure_of, key, legend, prose, verdict
from dragon.compare.report.rows import Dot, dots, strip
from dragon.compare.report.view import View, split_series
from dragon.compare.wording import figure, is_percent, level_text, selection
from dragon.counting import how_many
from dragon.errors import UsageError

__all__ = ["first_picture", "first_screen", "picture_series", "setting_text"]

Record = dict[str, Any]

_MOST_LINES = 6  # in the first picture


def first_screen(view: View) -> str:
    """The head of the page."""
    about = view.about
    claim = str(about.get("claim") or "")
    name = str(about["name"])
    says = [f'<p class="kicker">{escape(name)}{" · quick run" * bool(about.get("quick"))}</p>' if claim else ""]
    says.append(f"<h1>{escape(claim or name)}</h1>")
    source = [escape(str(about[key])) for key in ("source",) if about.get(key)]
    if about.get("expected"):
        source.append(f"expected: {escape(str(about['expected']))}")
    says.append(f'<p class="soft">{" · ".join(source)}</p>' if source else "")
    says.append(f"<p>{escape(str(about['description']))}</p>" if about.get("description") else "")
    says.append(_verdict(view))
    lines = [*pair_lines(view.results), *edge_lines(view.results)]
    says.append("<ul>" + "".join(f"<li>{prose(line)}</li>" for line in lines) + "</ul>" if lines else "")
    return (
        f'<header class="first"><div>{"".join(says)}</div><div class="picture">{first_picture(view)}</div></header>'
        + _setting(view)
        + _synthetic(view)
    )


# -- verdict -------------------------------------------------------------------------------------------------
def _verdict(view: View) -> str:
    c = view.primary
    if c is None:
        return ""
    headline = view.results.get("headline") or c["sentence"]
    parts = [
        f'<p class="verdict">{verdict(view.results.get("verdict", c.get("verdict")))}</p>' if c.get("expect") else ""
    ]
    parts.append(f'<p class="headline">{prose(str(headline))}</p>')
    expectation = _expectation(c)
    if expectation is not None:
        parts.append(f"<p>{prose(_meets(c, expectation))}</p>")
        parts.append(_strip(view, c, expectation))
    return "".join(parts)


def _expectation(c: Mapping[str, Any]) -> Expectation | None:
    try:
        return check_contrast(c)
    except UsageError:
        return None


def _meets(c: Mapping[str, Any], expectation: Expectation) -> str:
    what = {AGREES: "The whole 95 % interval meets", DISAGREES: "None of the 95 % interval meets"}
    lead = what.get(str(c.get("verdict")), "Part of the 95 % interval meets")
    if c.get("deterministic"):
        lead = {AGREES: "Every run meets", DISAGREES: "No run meets"}.get(str(c.get("verdict")), "Some runs meet")
    elif c.get("t") is None or c["n"] < MIN_SEEDS:
        return f"Expected was {expectation.text}."
    return f"{lead} what was expected ({expectation.text})."


def _strip(view: View, c: Mapping[str, Any], expectation: Expectation) -> str:
    values = c.get("values") or []
    interval = (min(values), max(values)) if c.get("deterministic") and values else c.get("t")
    if not interval or c.get("mean") is None or (c["n"] < MIN_SEEDS and not c.get("deterministic")):
        return ""
    share = view.share(str(c["metric"])) and c["scale"] == "difference"
    k = 100.0 if share else 1.0
    unit = {"ratio": ", ratio", "sd_ratio": ", ratio of standard deviations"}.get(str(c["scale"]), "")
    unit = unit or ((", points" if c["against"] else ", %") if share else "")
    name = str(c["metric"]).replace("_", " ") + (
        f": difference{unit}" if c["against"] and c["scale"] == "difference" else unit
    )
    label = f"{name}: interval {figure(k * interval[0])} to {figure(k * interval[1])}, expected {expectation.text}"
    expected = (k * expectation.low, k * expectation.high)
    drawn = strip(label, k * c["mean"], (k * interval[0], k * interval[1]), expected, name)
    area = '<span class="soft"><span class="area"></span>expected</span>'
    return f'<div class="stripbox">{drawn}{legend([area, key("found")])}</div>'


# -- setting -------------------------------------------------------------------------------------------------
def setting_text(view: View) -> str:
    """Data, iterations, seeds, engine and machine, as plain text."""
    counts = sorted({int(cell.get("iterations") or 0) for cell in view.cells})
    iterations = how_many(counts[-1], "iteration")
    if counts[0] != counts[-1]:
        iterations = f"{counts[0]:,} to {iterations}"
    seeds = max(len(cell["seeds"]) for cell in view.cells)
    data = str(view.about_or_top("dataset"))
    return (
        f"{data.upper() if view.about_or_top('synthetic', False) else data} · {iterations} · "
        f"{how_many(seeds, 'seed')} · engine {view.about_or_top('engine')}, "
        f"{view.about_or_top('precision')} · {view.about_or_top('machine')}"
    )


def _setting(view: View) -> str:
    data, dot, rest = setting_text(view).partition(" · ")
    kind = "alarm" if view.about_or_top("synthetic", False) else "data"
    return f'<p class="soft">Data: <b class="{kind}">{escape(data)}</b>{dot}{escape(rest)}</p>'


def _synthetic(view: View) -> str:
    if not view.about_or_top("synthetic", False):
        return ""
    return (
        '<p class="warning">SYNTHETIC DATA: these images are drawn by a program. The accuracies below show that '
        "everything runs and learns; they say nothing about CIFAR-10 or any other real data set.</p>"
    )


# -- picture -------------------------------------------------------------------------------------------------
def picture_series(view: View) -> str | None:
    """The series that the first picture draws over iterations; None if it draws something else."""
    spec = view.about_or_top("picture", None) or {}
    if spec.get("metric") or spec.get("metrics"):
        return None
    names = view.series_names()
    wanted = str(spec.get("series") or "")
    if wanted:
        return wanted
    scores = [name for name in names if name.startswith("test/")]
    return next((n for n in [*filter(is_percent, scores), *scores, *names]), None)


def first_picture(view: View) -> str:
    """The figures of the first screen and their key."""
    spec = view.about_or_top("picture", None) or {}
    where = spec.get("where") or spec.get("of") or {}
    cells = [c for c in view.cells if all(_has(c, name, value) for name, value in where.items())] or view.cells
    if spec.get("metric"):
        metric, over = str(spec["metric"]), spec.get("over")
        if over:
            return against(view, metric, str(over), cells, bool(spec.get("log")))
        return _dots(view, metric, cells)
    if spec.get("metrics"):
        return _rows(view, [str(name) for name in spec["metrics"]], cells)
    series = picture_series(view)
    if series is None:
        return ""
    base = split_series(series)[0]
    of = [name for name in view.series_names() if name == series or name.startswith(f"{series}/")] or [series]
    figures = []
    for name in [base] if base in of or series in of else of[:4]:
        title = view.axis_name(name).removesuffix(", %").capitalize() + " over iterations"
        shared = shared_axis(view, cells, name)
        panels = {"": cells} if len(cells) <= _MOST_LINES else view.panels(cells)
        for levels, some in list(panels.items())[:4]:
            named_title = title + (f", {levels}" if levels else "")
            by_cell = len(cells) <= _MOST_LINES and len({c["variant"] for c in some}) < len(some)
            svg = over_iterations(view, some, name, named_title, by_cell, shared)
            if svg:
                shown = figure_of(named_title, svg)
                figures.append(shown + (variant_legend(view, cells=some, figures=[svg]) if by_cell else ""))
    dashed = f"{base}@batch" in view.series_names()
    return "".join(figures) + (
        "" if figures and 'class="legend"' in figures[0] else variant_legend(view, dashed, figures=figures)
    )


def _has(cell: Record, name: str, value: Any) -> bool:
    given = cell["variant"] if name == "variant" else View.level(cell, name)
    return level_text(given) == level_text(value)


def _dots(view: View, metric: str, cells: Sequence[Record]) -> str:
    k, axis_name = unit_of(view, metric)
    factor = [
        e for e in view.results.get("factor_metrics") or [] if e["metric"] == metric and e.get("mean") is not None
    ]
    found = [
        _dot(name, e, k, view.colour(str(variant)))
        for name, variant, e in (
            [(selection({"variant": e["variant"], **(e.get("levels") or {})}), e["variant"], e) for e in factor]
            or [(view.label(c), c["variant"], c["metrics"].get(metric) or {}) for c in cells]
        )
        if e.get("mean") is not None
    ]
    title = metric.replace("_", " ").capitalize()
    return figure_of(title, dots(title, found, axis_name, figure))


def _rows(view: View, metrics: Sequence[str], cells: Sequence[Record]) -> str:
    """A figure for each cell, with a row for each of the metrics that it has; in percent if all are shares of 1."""
    percent = all(view.share(name) for name in metrics)
    k, axis_name = (unit_of(view, metrics[0])[0], "%") if percent else (1.0, "")
    figures = []
    for c in cells:
        entries = [(name, c["metrics"].get(name) or {}) for name in metrics]
        found = [
            _dot(name.replace("_", " "), e, k, view.colour(str(c["variant"])))
            for name, e in entries
            if e.get("mean") is not None
        ]
        if found:
            figures.append(figure_of(view.label(c), dots(view.label(c), found, axis_name, figure)))
    return "".join(figures)


def _dot(name: str, entry: Mapping[str, Any], k: float, colour: int) -> Dot:
    """The row of a metric with its interval, times k."""
    return Dot(name, k * entry["mean"], k * _end(entry, "low"), k * _end(entry, "high"), colour)


def _end(entry: Mapping[str, Any], key: str) -> float:
    value = entry.get(key)
    return float(entry["mean"] if value is None else value)
