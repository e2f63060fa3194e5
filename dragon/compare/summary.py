"""The end of a comparison in the terminal: the table of cells, what the contrasts and pairs found, the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dragon.columns import columns, terminal_width
from dragon.compare.grid_edges import edge_lines
from dragon.compare.pair_lines import pair_lines
from dragon.compare.report.html import VERDICTS
from dragon.compare.report.view import View
from dragon.compare.wording import level_text

__all__ = ["closing_lines", "text_table"]

Record = dict[str, Any]

_MOST_METRICS = 5  # columns; the report has all


def closing_lines(results: Record, report: Path) -> list[str]:
    """What is shown when an experiment is finished. results: the content of results.json."""
    view = View(results)
    lines = [f"\n{text_table(results, terminal_width())}\n"]
    for c in view.contrasts:
        sign = f"{VERDICTS[c['verdict']]} {c['verdict']}: " if c.get("verdict") else ""
        expected = f" Expected: {c['expect']}." if c.get("expect") else ""
        lines.append(f"{sign}{c['sentence']}{expected}")
    lines += pair_lines(results)
    lines += [f"! {line}" for line in edge_lines(results)]
    if view.primary is not None and view.primary.get("verdict"):
        claim = view.about.get("claim") or view.about["name"]
        lines.append(f"\nVerdict: {VERDICTS[view.primary['verdict']]} {view.primary['verdict']} - {claim}")
    if view.about_or_top("synthetic", False):
        lines.append("SYNTHETIC DATA: these figures say nothing about CIFAR-10.")
    return [*lines, f"report: {report}"]


def text_table(results: Record, width: int | None = None) -> str:
    """A row for each cell, as lines of at most `width` characters."""
    view = View(results)
    memory = results.get("memory") or {}
    metrics = view.metric_names()[:_MOST_METRICS]
    table = [["variant", *view.factors, *(_column(name) for name in metrics), "ms/iteration"] + ["MiB"] * bool(memory)]
    for cell in view.cells:
        counts = [(cell.get("diverged"), "diverged"), (cell.get("stopped"), "stopped at chance")]
        notes = [f"{count} of {len(cell['seeds'])} {what}" for count, what in counts if count]
        ms, mib = cell.get("ms_per_iteration"), (memory.get(cell["variant"]) or {}).get("process_mib")
        table.append(
            [
                str(cell["variant"]) + (f" ({', '.join(notes)})" if notes else ""),
                *("-" if (v := view.level(cell, name)) is None else level_text(v) for name in view.factors),
                *(_score(view, name, cell["metrics"].get(name)) for name in metrics),
                "-" if ms is None else f"{ms:.1f}",
                *(["-" if mib is None else f"{mib:.0f}"] if memory else []),
            ]
        )
    return columns(table[0], table[1:], width=width, rule=False)


def _column(metric: str) -> str:
    name, _, statistics = metric.partition("@")
    return name.replace("_", " ") + (f" by {statistics}" if statistics else "")


def _score(view: View, metric: str, entry: Mapping[str, Any] | None) -> str:
    if entry is None or entry.get("mean") is None:
        return "-"
    half = ""
    if entry.get("n", 1) > 1 and entry.get("low") is not None:
        half = f" ± {view.half_text(metric, (entry['high'] - entry['low']) / 2)}"
    return view.text(metric, entry["mean"]) + half
