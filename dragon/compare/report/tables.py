"""Sections of tables: cells, contrasts, metrics over a factor, the tuning grid, definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from dragon.compare.report.html import csv_link, prose, section, swatch, table, verdict
from dragon.compare.report.view import View
from dragon.compare.wording import figure, level_text
from dragon.counting import how_many

__all__ = [
    "cells_section",
    "contrasts_section",
    "definitions_section",
    "effect",
    "interval_text",
    "score",
    "tuning_section",
]

Record = dict[str, Any]

_NONE = '<span class="soft">–</span>'


def score(view: View, metric: str, entry: Mapping[str, Any] | None) -> str:
    """A metric of a cell: its mean and half the width of its interval."""
    if entry is None or entry.get("mean") is None:
        return _NONE
    half = ""
    if entry.get("n", 1) > 1 and entry.get("low") is not None:
        half = f' <span class="pm">± {view.half_text(metric, (entry["high"] - entry["low"]) / 2)}</span>'
    return view.text(metric, entry["mean"]) + half


def effect(contrast: Mapping[str, Any], share: bool, value: float | None) -> str:
    """A value on the scale of a contrast: points for shares, times for ratios."""
    if value is None:
        return "–"
    if contrast["scale"] != "difference":
        return f"{figure(value)} ×"
    if not share:
        return figure(value)
    return f"{100 * value:.1f} %" if contrast["against"] is None else f"{100 * value:+.1f} points"


def interval_text(contrast: Mapping[str, Any], share: bool, ends: Sequence[float] | None) -> str:
    """An interval on the scale of a contrast, its unit once."""
    if not ends:
        return "–"
    low, high = (effect(contrast, share, end) for end in ends)
    number, _, unit = low.partition(" ")
    return f"{number} to {high}" if unit else f"{low} to {high}"


def _lines(text: str) -> str:
    return escape(text).replace("\n", "<br>")


# -- cells ---------------------------------------------------------------------------------------------------
def cells_section(view: View, csv: Mapping[str, str]) -> str:
    """The main table: a row for each cell."""
    memory = view.results.get("memory") or {}
    metrics = view.metric_names()
    counts = {cell.get("iterations") for cell in view.cells}
    speeds = any(cell.get("images_per_s") for cell in view.cells)
    head = ["Variant", *map(escape, view.factors), *(_lines(view.title(name)) for name in metrics)]
    head += ["Iterations"] * (len(counts) > 1) + ["ms per<br>iteration"] + ["images<br>per second"] * speeds
    head += ["memory,<br>MiB"] * bool(memory)
    rows = []
    for cell in view.cells:
        row = [swatch(view.colour(str(cell["variant"])), str(cell["variant"])) + _ended(cell)]
        row += [
            escape(level_text(view.level(cell, name))) if view.level(cell, name) is not None else _NONE
            for name in view.factors
        ]
        row += [score(view, name, cell["metrics"].get(name)) for name in metrics]
        row += [f"{cell.get('iterations') or 0:,}"] * (len(counts) > 1)
        row.append(_number(cell.get("ms_per_iteration"), ".1f"))
        row += [_number(cell.get("images_per_s"), ",.0f")] * speeds
        if memory:
            row.append(_number((memory.get(cell["variant"]) or {}).get("process_mib"), ".0f"))
        rows.append(row)
    over = _over_factors(view)
    link = csv_link("cells.csv", csv.get("cells.csv")) + csv_link("runs.csv", csv.get("runs.csv"))
    return section(
        "Every cell", table(head, rows, "headline"), f'<p class="soft">{escape(_notes(view))}</p>', over, link=link
    )


def _ended(cell: Mapping[str, Any]) -> str:
    """How many runs of a cell diverged or were stopped early."""
    runs, note = len(cell["seeds"]), ""
    for what, kind in (("diverged", "diverged"), ("stopped", "stopped at chance")):
        if cell.get(what):
            note += f'<br><span class="alarm">{cell[what]} of {runs} {kind}</span>'
    return note


def _number(value: float | None, form: str) -> str:
    return _NONE if value is None else format(value, form)


def _notes(view: View) -> str:
    entries = [entry for cell in view.cells for entry in cell["metrics"].values() if entry]
    kinds = {entry["kind"]: entry["n"] for entry in entries if entry.get("n", 1) > 1 and entry.get("kind")}
    said = [f"± and bands: {kind} over {how_many(n, 'seed')}." for kind, n in kinds.items()]
    if not kinds:
        said.append("One seed: differences of a percent or two between variants may be chance.")
    if any("@batch" in name for name in view.known()):
        said.append("Running statistics are what a net is used with; batch statistics are those of each test batch.")
    if any(cell.get("diverged") for cell in view.cells):
        said.append("A run that diverged counts with what chance scores.")
    jobs = view.about_or_top("jobs", 1) or 1
    said.append("Time per iteration is measured " + (f"with {jobs} runs side by side" if jobs > 1 else "alone") + ".")
    if view.results.get("memory"):
        said.append("Memory is what one training net adds to a process.")
    return " ".join(said)


def _over_factors(view: View) -> str:
    entries = view.results.get("factor_metrics") or []
    if not entries:
        return ""
    rows = [
        [
            swatch(view.colour(str(e["variant"])), str(e["variant"])),
            escape(", ".join(f"{k} {level_text(v)}" for k, v in (e.get("levels") or {}).items())) or "all",
            escape(str(e["metric"])),
            score(view, str(e["metric"]), {"n": len(e["values"]), **e}),
            escape(", ".join(view.text(str(e["metric"]), v) for v in e["values"])),
        ]
        for e in entries
    ]
    return "<h3>Over a factor</h3>" + table(["Variant", "Levels", "Metric", "Mean", "For each seed"], rows)


# -- contrasts -----------------------------------------------------------------------------------------------
def contrasts_section(view: View, csv: Mapping[str, str]) -> str:
    """Every contrast: what was expected, what was found, with intervals, p-values and verdict."""
    if not view.contrasts:
        return ""
    rows = []
    for c in view.contrasts:
        share = view.share(str(c["metric"]))
        name = escape(str(c["name"])) + (' <span class="pm">primary</span>' if c.get("primary") else "")
        ranges = [interval_text(c, share, r) for r in (c.get("t"), c.get("bootstrap"))]
        ps = ["–" if p is None else _p(p) for p in (c.get("p"), c.get("p_holm"))]
        expected = escape(str(c["expect"])) if c.get("expect") else "–"
        rows.append(
            [
                name,
                verdict(c.get("verdict")),
                expected,
                f"<b>{effect(c, share, c['mean'])}</b>",
                *ranges,
                *ps,
                str(c["n"]),
            ]
        )
    head = [
        "Contrast", "Verdict", "Expected", "Found", "95 % interval<br>(Student's t)",
        "95 % interval<br>(bootstrap, BCa)", "p", "p after<br>Holm", "Seeds",
    ]  # fmt: skip
    said = "".join(f"<li>{prose(str(c['sentence']))}</li>" for c in view.contrasts)
    note = (
        "Differences are taken seed by seed: runs of one seed share their initial weights' random numbers and their "
        "order of the data. A verdict is that of the t interval: it agrees when the whole interval meets what was "
        "expected, disagrees when none of it does. p is of the bound that is expected; Holm's correction is over the "
        "contrasts that are not primary."
    )
    return section(
        "Contrasts", f"<ul>{said}</ul>", table(head, rows, "contrasts"), f'<p class="soft">{note}</p>',
        link=csv_link("contrasts.csv", csv.get("contrasts.csv")),
    )  # fmt: skip


def _p(p: float) -> str:
    return "&lt; 0.0001" if p < 1e-4 else f"{p:.2g}"


# -- tuning --------------------------------------------------------------------------------------------------
def tuning_section(view: View, csv: Mapping[str, str]) -> str:
    """The grids that were tried on the validation split, the chosen setting marked."""
    parts = []
    for entry in view.results.get("tuning") or []:
        grid = entry.get("grid") or []
        fields = [k for k in (grid[0] if grid else {}) if k not in ("score", "mean", "failed")]
        best = entry.get("chosen") or {}
        rows = []
        for row in grid:
            chosen = all(row.get(k) == best.get(k) for k in fields)
            mean = view.text(str(entry.get("metric") or "accuracy"), row.get("mean"))
            ended = (
                f' <span class="alarm">{row["failed"]} of {len(row["score"])} failed</span>'
                if row.get("failed")
                else ""
            )
            said = f"<b>{mean} ← chosen</b>" if chosen else mean
            rows.append([*(escape(level_text(row[k])) for k in fields), said + ended])
        levels = ", ".join(f"{k} {level_text(v)}" for k, v in (entry.get("levels") or {}).items())
        heading = swatch(view.colour(str(entry["variant"])), f"{entry['variant']} {levels}".strip())
        parts.append(f"<div><h3>{heading}</h3>{table([*map(escape, fields), _tuned(entry)], rows)}</div>")
    if not parts:
        return ""
    note = f"<p>{how_many(len(parts), 'grid')}; every one on the validation split, with seeds of its own.</p>"
    link = csv_link("tuning.csv", csv.get("tuning.csv"))
    return section("Tuning", note, f'<div class="charts">{"".join(parts)}</div>', link=link)


def _tuned(entry: Mapping[str, Any]) -> str:
    """The head of the column of scores."""
    metric = str(entry.get("metric") or "accuracy")
    return "Validation" + (f"<br>{escape(metric.replace('_', ' '))}" if metric != "accuracy" else "")


def definitions_section(view: View) -> str:
    """What each variant is."""
    told = view.about.get("variants") or []
    if not told:
        told = [{"name": view.label(cell), "what": cell.get("what") or ""} for cell in view.cells]
    rows = [[swatch(view.colour(str(v["name"]).split(",")[0]), str(v["name"])), escape(str(v["what"]))] for v in told]
    return section("What was compared", table(["Variant", "Definition"], rows, "texts"))
