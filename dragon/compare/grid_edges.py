"""Where tuning chose the lowest or highest level of its grid: one beyond it might be better, and change the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

from dragon.compare.wording import level_text, selection

__all__ = ["edge_lines"]

Record = Mapping[str, Any]


def edge_lines(results: Record) -> list[str]:
    """A sentence for each level at an end of its grid that was chosen, with the variants that chose it.

    results: the content of results.json.
    """
    found: dict[tuple[str, str, str], list[str]] = {}
    for entry in results.get("tuning") or []:
        for name, chosen in (entry.get("chosen") or {}).items():
            levels = [point[name] for point in entry.get("grid") or [] if isinstance(point.get(name), Real)]
            for end, of in (("lowest", min), ("highest", max)):
                beyond = end == "highest" or chosen > 0  # no field that is tuned goes below 0
                if len(set(levels)) > 1 and chosen == of(levels) and beyond:
                    where = selection({"variant": entry["variant"], **(entry.get("levels") or {})})
                    found.setdefault((name, level_text(chosen), end), []).append(where)
    return [
        f"{', '.join(where)}: tuning chose the {end} {name} of its grid, {level}; one beyond it may be better."
        for (name, level, end), where in found.items()
    ]
