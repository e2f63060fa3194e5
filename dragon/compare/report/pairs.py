"""Sections on pairs of variants that should compute the same: their differences, their cost, how long they agree."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from dragon.compare.pair_lines import levels_of
from dragon.compare.report.html import details, section, table
from dragon.counting import how_many

__all__ = ["pair_section"]

Record = dict[str, Any]

_PARTS = ("outputs", "input_gradients", "parameter_gradients")
_STEPS = ("forward", "backward", "both")


def pair_section(pair: Mapping[str, Any]) -> str:
    """The section of one pair, such as the split and the merged form of a net."""
    if not pair.get("settings"):
        return ""
    first, second = escape(pair["first"]), escape(pair["second"])
    differences = [
        [escape(s["setting"]), *(_difference(s["differences"][p]) for p in _PARTS)] for s in pair["settings"]
    ]
    by_parameter = [
        [escape(row["name"]), f"{row['difference']:.1e}", f"{row['of']:.3g}"]
        for row in pair["settings"][0]["differences"]["by_parameter"]
    ]
    timed = [s for s in pair["settings"] if "times" in s]
    times = [[escape(s["setting"]), *(cell for part in _STEPS for cell in _time(s["times"][part]))] for s in timed]
    count = max((s["times"]["pairs"] for s in timed), default=0)
    head = ["Setting"] + [f"{part}<br>{what}" for part in _STEPS for what in (first, second, "ratio")]
    return section(
        f"{pair['second']} against {pair['first']}",
        f"<p>Both nets have the same weights and see the same batch of {how_many(pair['images'], 'image')}. The "
        "table gives the "
        "largest absolute difference anywhere, the largest value of the blob that it is in, and that blob's name.</p>",
        table(["Setting", "Outputs", "Gradient of the input", "Gradients of parameters"], differences),
        f"<h3>Milliseconds per step</h3><p>Run in turn, {how_many(count, 'time')}; medians, and the median of "
        f"{second} / {first}."
        "</p>",
        table(head, times),
        _together(pair),
        details("Gradient differences by parameter", table(["Parameter", "Difference", "Largest value"], by_parameter)),
    )


def _together(pair: Mapping[str, Any]) -> str:
    rows = pair.get("coincide") or []
    if not rows:
        return ""
    tolerances = list(rows[0]["within"])
    several = any(levels_of(row) for row in rows)
    body = [
        [
            *([escape(levels_of(row)) or "–"] if several else []),
            str(row["seed"]),
            *(f"{row['within'][t]:,}" for t in tolerances),
            f"{row['of']:,}",
        ]
        for row in rows
    ]
    return (
        "<h3>How long training stays together</h3><p>Iterations from the start for which the two losses differ by no "
        "more than the tolerance (times the loss, where that is above 1). Nets that compute the same part later, as "
        "rounding errors grow.</p>"
    ) + table([*(["Levels"] if several else []), "Seed", *(f"to {escape(t)}" for t in tolerances), "of"], body)


def _time(times: Mapping[str, float]) -> list[str]:
    return [f"{times['first_ms']:.2f}", f"{times['second_ms']:.2f}", f"<b>{times['ratio']:.3f}</b>"]


def _difference(entry: Record | None) -> str:
    if entry is None:
        return "–"
    if not entry["difference"]:
        return f'none <span class="pm">({escape(entry["name"])})</span>'
    return f'{entry["difference"]:.1e} <span class="pm">of {entry["of"]:.3g} ({escape(entry["name"])})</span>'
