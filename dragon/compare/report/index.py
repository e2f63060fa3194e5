"""The index over all experiments of a folder: a line for each claim with verdict, figure, interval and seeds.

Two files of the same lines: index.html for readers, index.md as a table for a page of documentation.
"""

from __future__ import annotations

import json
import logging
import shlex
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dragon.compare.arithmetic import TF32
from dragon.compare.contrasts import primary_of
from dragon.compare.grid_edges import edge_lines
from dragon.compare.report.html import VERDICTS, page, table, verdict
from dragon.compare.report.tables import effect, interval_text
from dragon.compare.wording import is_share, without_folders
from dragon.files.atomic import write_atomically
from dragon.files.reading import read_text

__all__ = ["write_index"]

log = logging.getLogger("dragon")

Record = dict[str, Any]

_ENGINE, _PRECISION = "onednn", "fp32"  # what runs where nothing is asked for
_ELSEWHERE = ("--output", "--store", "--jobs", "--tensorboard", "--executor", "--scheduler")  # change no figure
_HEAD = ["Claim", "Verdict", "Figure", "95 % interval", "Expected", "Seeds"]


@dataclass(frozen=True)
class _Line:
    """What the index says of one experiment, as plain text. folder: where its report is, relative to the index."""

    folder: str
    name: str
    claim: str
    command: str
    quick: bool
    synthetic: bool
    precision: str
    verdict: str | None
    figure: str
    interval: str
    expected: str
    seeds: int
    edge: bool

    @property
    def notes(self) -> list[str]:
        """Reservations that belong beside the claim."""
        edge = ["a tuned value at the edge of its grid"] * self.edge
        how = ["quick run"] * self.quick + [f"in {self.precision}"] * (self.precision != _PRECISION)
        return how + ["SYNTHETIC DATA"] * self.synthetic + edge


def write_index(folder: Path) -> Path:
    """Write index.html and index.md over the reports in the folders of `folder`; the path of the first.

    Raises OSError.
    """
    lines = [line for path in sorted(folder.glob("*/results.json")) if (line := _line_of(path)) is not None]
    target = folder / "index.html"
    write_atomically(target, _page(lines).encode())
    write_atomically(folder / "index.md", _markdown(lines).encode())
    return target


def _line_of(path: Path) -> _Line | None:
    """The line of a finished experiment; None, and a message, for a file that is none or damaged."""
    try:
        return _line(path.parent.name, json.loads(read_text(path)))
    except (OSError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError):
        log.warning("%s: no results of an experiment, left out of the index", path)
        return None


def _line(folder: str, results: Record) -> _Line:
    about = results["about"]
    c = primary_of(results.get("contrasts") or [])
    figure = interval = expected = "–"
    seeds = max((len(cell["seeds"]) for cell in results.get("cells") or []), default=0)
    if c is not None:
        share = is_share(str(c["metric"]), results.get("metrics"))
        figure, interval = effect(c, share, c["mean"]), interval_text(c, share, c.get("t"))
        expected, seeds = str(c.get("expect") or "–"), int(c["n"])
    return _Line(
        folder=folder,
        name=str(about.get("name") or ""),
        claim=str(about.get("claim") or about.get("name") or folder),
        command=_command(results, folder),
        quick=bool(about.get("quick")),
        synthetic=bool(about.get("synthetic")),
        precision=str(results.get("precision") or _PRECISION),
        verdict=None if c is None else c.get("verdict"),
        figure=figure,
        interval=interval,
        expected=expected,
        seeds=seeds,
        edge=bool(edge_lines(results)),
    )


def _command(results: Record, folder: str) -> str:
    """What runs the experiment again, with the options that change its figures."""
    about = results["about"]
    given = shlex.split(str(about.get("command") or "")) or [
        "dragon",
        "compare",
        Path(str(about.get("file") or folder)).stem,
    ]
    words = [
        word for k, word in enumerate(given) if word not in _ELSEWHERE and (k == 0 or given[k - 1] not in _ELSEWHERE)
    ]
    engine, precision = str(results.get("engine") or _ENGINE), str(results.get("precision") or _PRECISION)
    if about.get("quick") and "--quick" not in words:
        words.append("--quick")
    if engine != _ENGINE and "--engine" not in words:
        words += ["--engine", engine]
    if precision == TF32:
        words += ["--tf32"] * ("--tf32" not in words)
    elif precision != _PRECISION and "--precision" not in words:
        words += ["--precision", precision]
    return str(without_folders(shlex.join(words)))


def _page(lines: list[_Line]) -> str:
    counts: dict[str | None, int] = dict.fromkeys([*VERDICTS, None], 0)
    for line in lines:
        counts[line.verdict] = counts.get(line.verdict, 0) + 1
    said = ", ".join(f"{n} {word or 'without a verdict'}" for word, n in counts.items() if n)
    rows = [_row(line) for line in lines]
    return page(
        "Experiments",
        [
            f'<h1>Experiments</h1><p class="soft">{len(lines)} in this folder: {escape(said or "none yet")}. '
            "A verdict is that of the primary contrast.</p>",
            table(_HEAD, rows, "index texts") if rows else "",
        ],
    )  # fmt: skip


def _row(line: _Line) -> list[str]:
    notes = [line.name] * (bool(line.name) and line.name != line.claim) + line.notes
    link = f'<a href="{escape(quote(line.folder))}/report.html">{escape(line.claim)}</a>'
    first = link + (f'<br><span class="pm">{escape(" · ".join(notes))}</span>' if notes else "")
    figure = line.figure if line.figure == "–" else f"<b>{line.figure}</b>"
    return [first, verdict(line.verdict), figure, line.interval, escape(line.expected), str(line.seeds)]


def _markdown(lines: list[_Line]) -> str:
    rows = [[*_HEAD, "Command"], ["---"] * (len(_HEAD) + 1)]
    for line in lines:
        claim = " · ".join([line.claim, *line.notes])
        cells = [claim, line.verdict or "–", line.figure, line.interval, line.expected, str(line.seeds)]
        rows.append([*(_cell(text) for text in cells), f"`{_cell(line.command)}`"])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _cell(text: str) -> str:
    """Text of a file in a cell: on one line, without marks of tables or HTML."""
    return escape(" ".join(text.split()), quote=False).replace("|", "\\|").replace("`", "'")
