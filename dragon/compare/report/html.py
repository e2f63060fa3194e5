"""Parts of pages: tables, figures, keys and links. What is given as text is escaped here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape, unescape
from importlib.resources import files
from urllib.parse import quote

from dragon.compare.report.lines import COLOURS, MARKS
from dragon.counting import how_many

__all__ = [
    "VERDICTS",
    "charts",
    "csv_link",
    "details",
    "figure_of",
    "key",
    "legend",
    "page",
    "prose",
    "section",
    "signs",
    "style",
    "swatch",
    "table",
    "verdict",
]

VERDICTS = {"agrees": "✓", "disagrees": "✗", "undecided": "?"}  # so that not the colour alone says it
_COLUMNS = 3  # of a table that a phone shows as it is
_MANY = 10  # columns that print needs in a smaller size
_CHARTS = 12  # of one section that are shown at once
_EMBEDDED = 300_000  # characters of a CSV file that is put into the page too


def prose(text: str) -> str:
    """Text in which a number stays beside its percent sign."""
    return escape(text).replace(" %", "&nbsp;%")


def style(*names: str) -> str:
    """The style of pages, or of the files `names` beside this module."""
    folder = files("dragon.compare.report")
    return "".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names or ("charts.css", "report.css"))


def page(title: str, body: Sequence[str]) -> str:
    """A whole page, which loads nothing."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>\n<style>\n{style()}</style></head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body></html>\n"
    )


def section(title: str, *parts: str, link: str = "") -> str:
    """A section with a heading; empty when it has no parts."""
    inside = "".join(parts)
    return f"<section><h2>{escape(title)}{link}</h2>{inside}</section>" if inside else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """A table of cells that are HTML already; on a phone each row of a table with many columns is a paragraph."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    stacked = len(head) > _COLUMNS and "index" not in kind.split()
    labels = [f' data-label="{_label(cell)}"' if stacked and k else "" for k, cell in enumerate(head)]
    body = "".join(
        "<tr>" + "".join(f"<td{label}>{cell}</td>" for label, cell in zip(labels, row, strict=True)) + "</tr>"
        for row in rows
    )
    kind = " ".join([*kind.split(), *["stacked"] * stacked, *["many"] * (len(head) > _MANY)])
    return f'<div class="scroll"><table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _label(cell: str) -> str:
    """A column's head as the text before its values on a phone."""
    return escape(unescape(re.sub(r"<[^>]*>", " ", cell)))


def figure_of(title: str, svg: str) -> str:
    """A figure with its title."""
    return f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>"


def details(title: str, inside: str, open_: bool = False) -> str:
    """A part that opens by a click."""
    kind = ' class="charted"' if "<figure" in inside else ""  # not opened by print
    return f"<details{kind}{' open' * open_}><summary>{escape(title)}</summary>{inside}</details>"


def swatch(colour: int, name: str) -> str:
    """The mark of a series and its name."""
    return f'<span class="swatch c{colour % COLOURS} m{colour % MARKS}"></span>{escape(name)}'


def key(text: str, dashed: bool = False) -> str:
    """What a kind of line means."""
    return f'<span class="soft"><span class="key{" dashed" * dashed}"></span>{escape(text)}</span>'


def signs(figures: Iterable[str]) -> list[str]:
    """The keys of the line of chance and of the crosses, where one of the charts has them."""
    drawn = "".join(figures)
    found = ['<span class="soft"><span class="key dotted"></span>chance</span>'] * ('class="chance"' in drawn)
    return found + ['<span class="soft"><b>×</b> diverged or stopped at chance</span>'] * ('class="cross ' in drawn)


def legend(keys: Sequence[str]) -> str:
    """The key to a chart."""
    return f'<div class="legend">{"".join(f"<span>{one}</span>" for one in keys)}</div>' if keys else ""


def verdict(name: str | None) -> str:
    """A verdict with its sign; a dash when nothing was expected."""
    if name is None:
        return '<span class="soft">–</span>'
    return f'<span class="badge {escape(name)}"><b>{VERDICTS.get(name, "?")}</b> {escape(name)}</span>'


def csv_link(name: str, text: str | None) -> str:
    """A link that saves a CSV file which the page itself holds; to the file beside the page when it is large."""
    if not text:
        return ""
    inside = len(text) <= _EMBEDDED
    href = "data:text/csv;charset=utf-8," + quote(text, safe=" ,/:;=@+$!*'()") if inside else quote(name)
    saved = f' download="{escape(name.replace("/", "_"))}"' if inside else ""
    return f' <a class="csv" href="{escape(href)}"{saved}>{escape(name.rsplit("/", 1)[-1])}</a>'


def charts(figures: Sequence[str]) -> str:
    """Small charts beside each other; beyond a dozen they open by a click."""
    shown, rest = figures[:_CHARTS], figures[_CHARTS:]
    more = details(how_many(len(rest), "more chart"), f'<div class="charts">{"".join(rest)}</div>') if rest else ""
    return f'<div class="charts">{"".join(shown)}</div>{more}' if figures else ""
