"""The index page over all experiments of a folder: a line for each claim with verdict, figure, interval and seeds."""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dragon.compare.contrasts import primary_of
from dragon.compare.report.html import VERDICTS, page, table, verdict
from dragon.compare.report.tables import effect, interval_text
from dragon.compare.wording import is_share
from dragon.files.atomic import write_atomically
from dragon.files.reading import read_text

__all__ = ["write_index"]

Record = dict[str, Any]


def write_index(folder: Path) -> Path:
    """Write index.html over the reports in the folders of `folder`; return its path. Raises OSError."""
    found = [(path.parent.name, results) for path in sorted(folder.glob("*/results.json")) if (results := _read(path))]
    target = folder / "index.html"
    write_atomically(target, _render(found).encode())
    return target


def _read(path: Path) -> Record | None:
    """The results of a finished experiment; None for what is none or damaged."""
    try:
        results = json.loads(read_text(path))
    except (OSError, ValueError):
        return None
    return results if isinstance(results, dict) and isinstance(results.get("about"), dict) else None


def _render(found: list[tuple[str, Record]]) -> str:
    style = files("dragon.compare.report").joinpath("report.css").read_text(encoding="utf-8")
    rows, counts = [], dict.fromkeys([*VERDICTS, None], 0)
    for name, results in found:
        counts[results.get("verdict")] = counts.get(results.get("verdict"), 0) + 1
        rows.append(_row(name, results))
    said = ", ".join(f"{n} {word or 'without a verdict'}" for word, n in counts.items() if n)
    head = ["Claim", "Verdict", "Figure", "95 % interval", "Expected", "Seeds"]
    return page(
        "Experiments", style,
        [
            f'<h1>Experiments</h1><p class="soft">{len(found)} in this folder: {escape(said or "none yet")}. '
            "A verdict is that of the primary contrast.</p>",
            table(head, rows, "index texts") if rows else "",
        ],
    )  # fmt: skip


def _row(name: str, results: Record) -> list[str]:
    about = results["about"]
    claim = str(about.get("claim") or about.get("name") or name)
    notes = [str(about["name"])] if about.get("claim") and about.get("name") else []
    notes += ["quick run"] * bool(about.get("quick")) + ["SYNTHETIC DATA"] * bool(about.get("synthetic"))
    link = f'<a href="{escape(quote(name))}/report.html">{escape(claim)}</a>'
    first = link + (f'<br><span class="pm">{escape(" · ".join(notes))}</span>' if notes else "")
    c = primary_of(results.get("contrasts") or [])
    if c is None:
        return [
            first,
            verdict(None),
            "–",
            "–",
            "–",
            str(max((len(x["seeds"]) for x in results.get("cells") or []), default=0)),
        ]
    share = is_share(str(c["metric"]), results.get("metrics"))
    low_high = interval_text(c, share, c.get("t"))
    expected = escape(str(c["expect"])) if c.get("expect") else "–"
    return [first, verdict(c.get("verdict")), f"<b>{effect(c, share, c['mean'])}</b>", low_high, expected, str(c["n"])]
