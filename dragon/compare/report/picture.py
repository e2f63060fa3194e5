"""picture.svg: the first screen of a report as one drawing for a readme or a talk: claim, verdict, charts and key.

The charts and the key are read from the HTML of the first screen, so that one place decides what they show.
"""

from __future__ import annotations

import re
import textwrap
from html import escape, unescape
from typing import Any

from dragon.compare.report.axes import HEIGHT, WIDTH
from dragon.compare.report.first import first_picture, setting_text
from dragon.compare.report.html import VERDICTS, style
from dragon.compare.report.lines import mark
from dragon.compare.report.view import View

__all__ = ["picture"]

_SIDE = 24
_BROAD = 620  # of the whole
_CHARACTER = 7.4  # of 13 px, wide ones counted in
_FIGURE = re.compile(r"<figcaption>(.*?)</figcaption>(<svg.*?</svg>)", re.DOTALL)
_KEY = re.compile(r'<span class="(swatch|key)([^"]*)"></span>([^<]*)<')
_BOX = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')
_STYLE = """
svg { overflow: visible; }
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
text { fill: var(--text); }
.tick, .name { font-size: 11px; fill: var(--soft); } .row { font-size: 11px; }
.claim { font-size: 19px; font-weight: 700; } .strong { font-weight: 700; } .soft { fill: var(--soft); }
.agrees { fill: var(--yes); } .disagrees { fill: var(--no); } .undecided { fill: var(--open); }
.paper { fill: var(--page); } .sample { fill: none; stroke: var(--soft); stroke-width: 2; }
.dotted { stroke-dasharray: 2 3; }
"""


class _Sheet:
    """A drawing that is filled from the top."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.y = 16.0

    def text(self, text: str, kind: str, size: float = 13, gap: float = 4) -> None:
        """Text over as many lines as it needs."""
        fits = int((_BROAD - 2 * _SIDE) / (_CHARACTER * size / 13))
        for line in textwrap.wrap(text, fits):
            self.y += size + 5
            self.parts.append(f'<text class="{kind}" x="{_SIDE}" y="{self.y:.0f}">{escape(line)}</text>')
        self.y += gap

    def figures(self, figures: list[tuple[str, str]]) -> None:
        """Charts beside each other, two in a row; a single one as wide as the drawing."""
        columns = min(2, len(figures))
        width = (_BROAD - 2 * _SIDE - 20 * (columns - 1)) / max(columns, 1)
        for k in range(0, len(figures), 2):
            row = figures[k : k + 2]
            titles = [textwrap.wrap(unescape(title), int(width / _CHARACTER)) for title, _ in row]
            top, tallest = self.y + 10 + 17 * max(map(len, titles)), 0.0
            for n, (lines, (_, svg)) in enumerate(zip(titles, row, strict=True)):
                x = _SIDE + n * (width + 20)
                box = _BOX.search(svg)
                broad, high = (float(box[1]), float(box[2])) if box else (WIDTH, HEIGHT)
                height = high * width / broad
                place = f'x="{x:.0f}" y="{top:.0f}" width="{width:.0f}" height="{height:.0f}"'
                self.parts += [
                    f'<text class="strong" x="{x:.0f}" y="{self.y + 17 * (1 + m):.0f}">{escape(line)}</text>'
                    for m, line in enumerate(lines)
                ]
                self.parts.append(svg.replace("<svg ", f"<svg {place} ", 1))
                tallest = max(tallest, height)
            self.y = top + tallest + 8

    def keys(self, keys: list[tuple[str, str, str]]) -> None:
        """The key: (swatch or key, further classes, text)."""
        x = float(_SIDE)
        self.y += 14
        for kind, classes, text in keys:
            width = 26 + _CHARACTER * len(text) + 18
            if x + width > _BROAD - _SIDE and x > _SIDE:
                x, self.y = float(_SIDE), self.y + 20
            colour = re.search(r"\bc(\d)", classes)
            shape = re.search(r"\bm(\d)", classes)
            if kind == "swatch" and colour and shape:
                drawn = (
                    mark(int(shape[1]), x + 8, self.y - 4, 5).replace(f"mark c{shape[1]}", f"mark c{colour[1]}") + "/>"
                )
            elif text.startswith("×"):
                drawn = ""
            else:
                dashes = " ".join(word for word in classes.split() if word in ("dashed", "dotted"))
                drawn = f'<path class="{f"sample {dashes}".strip()}" d="M{x:.0f} {self.y - 4:.0f}h20"/>'
            place = x + (26 if drawn else 5)
            self.parts.append(f'{drawn}<text x="{place:.0f}" y="{self.y:.0f}">{escape(text)}</text>')
            x += width
        self.y += 8


def picture(results: dict[str, Any]) -> str:
    """The SVG for the content of results.json. It loads nothing, runs nothing, and suits light and dark pages."""
    view, sheet = View(results), _Sheet()
    claim = str(view.about.get("claim") or view.about["name"])
    sheet.text(claim, "claim", 19)
    primary = view.primary
    if primary is not None:
        found = str(view.results.get("verdict") or primary.get("verdict") or "")
        headline = str(view.results.get("headline") or primary["sentence"])
        if found and primary.get("expect"):
            sheet.text(
                f"{VERDICTS.get(found, '?')} {found}", f"strong {found if found in VERDICTS else ''}".strip(), gap=0
            )
        sheet.text(headline, "strong", gap=10)
    html = first_picture(view)
    sheet.figures(_FIGURE.findall(html))
    keys = {(kind, classes, unescape(text)): None for kind, classes, text in _KEY.findall(html)}
    if "<b>×</b>" in html:
        keys["key", "", "× diverged or stopped at chance"] = None
    sheet.keys(list(keys))
    sheet.text(setting_text(view), "soft", 12)
    height = sheet.y + 14
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_BROAD} {height:.0f}" width="{_BROAD}" '
        f'height="{height:.0f}" role="img" aria-label="{escape(claim)}">\n'
        f"<style>{style('charts.css')}{_STYLE}</style>\n"
        f'<rect class="paper" width="{_BROAD}" height="{height:.0f}"/>\n' + "\n".join(sheet.parts) + "\n</svg>\n"
    )
