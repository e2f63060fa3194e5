"""Tables as plain text, laid out for a terminal of any width or for a file."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterable, Sequence

from rich.cells import cell_len, chop_cells

__all__ = ["columns", "terminal_width"]

_GAP = 2
_WORDS = (20, 10)  # cells: words up to this length are not divided between lines; the first that fits counts
_SMALLEST = 8  # width of a column of text
_PIECE = re.compile(r"[^\s,;/_.:-]+[,;/_.:-]*|[,;/_.:-]+")  # part of a word that may stand at the end of a line


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is, or of COLUMNS if that is set; None where stdout is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def columns(
    head: Sequence[str],
    rows: Iterable[Sequence[object]],
    left: Iterable[int] = (0,),
    width: int | None = None,
    rule: bool = True,
) -> str:
    """Aligned columns below a head; columns in `left` are text, aligned left, the others figures.

    width: the most cells of a line; None for lines as long as they need to be. In a narrower table text continues on
    further lines; figures are never divided. Where that is not enough, each row is a block with a line for each column.
    rule: draw a line below the head.
    """
    titles, text = list(head), set(left)
    cells = [[str(cell) for cell in row] for row in rows]
    natural = [max(cell_len(row[k]) for row in [titles, *cells]) for k in range(len(titles))]
    gaps = _GAP * (len(titles) - 1)
    if width is None or sum(natural) + gaps <= width:
        return _lines(titles, cells, natural, text, rule)
    for word in _WORDS:
        least = [_least(titles[k], [row[k] for row in cells], word if k in text else None) for k in range(len(titles))]
        spare = width - gaps - sum(least)
        if spare >= 0:
            return _lines(titles, cells, _shared(natural, least, spare), text, rule)
    return _blocks(titles, cells, width, text)


def _least(title: str, cells: Sequence[str], word: int | None) -> int:
    """The least width of a column. word: the longest word that is not divided; None for a column of figures."""
    if word is None:
        return max([cell_len(cell) for cell in cells] + [cell_len(piece) for piece in _PIECE.findall(title)])
    words = [cell_len(one) for cell in (title, *cells) for one in cell.split()]
    longest = max(words, default=0)
    return longest if longest <= word else max([_SMALLEST] + [one for one in words if one <= word])


def _shared(natural: Sequence[int], least: Sequence[int], spare: int) -> list[int]:
    """Widths between the least and the natural ones: the narrowest columns get what they need first."""
    widths = list(least)
    order = sorted(range(len(widths)), key=lambda k: natural[k] - least[k])
    for n, k in enumerate(order):
        more = min(natural[k] - least[k], spare // (len(order) - n))
        widths[k] += more
        spare -= more
    return widths


def _lines(
    titles: Sequence[str], cells: Sequence[Sequence[str]], widths: Sequence[int], text: set[int], rule: bool
) -> str:
    def lines(row: Sequence[str]) -> list[str]:
        parts = [_wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
        height = max(map(len, parts))
        return [
            (" " * _GAP)
            .join(_aligned(part[n] if n < len(part) else "", widths[k], k in text) for k, part in enumerate(parts))
            .rstrip()
            for n in range(height)
        ]

    below = [(" " * _GAP).join("-" * width for width in widths)] * rule
    return "\n".join([*lines(titles), *below, *(line for row in cells for line in lines(row))])


def _blocks(titles: Sequence[str], cells: Sequence[Sequence[str]], width: int, text: set[int]) -> str:
    """Each row as lines `title  cell`, with an empty line between rows; titles stand above cells if space is short."""
    widest = max([cell_len(cell) for row in cells for k, cell in enumerate(row) if k not in text], default=0)
    side = max(map(cell_len, titles)) + _GAP
    beside = side + max(_SMALLEST, widest) <= width
    blocks = []
    for row in cells:
        block: list[str] = []
        for title, cell in zip(titles, row, strict=True):
            first, *rest = _wrapped(cell, max(1, width - (side if beside else _GAP)))
            if beside:
                block.append((_aligned(title, side, True) + first).rstrip())
            else:
                block += [*_wrapped(title, width), " " * _GAP + first]
            block += [" " * (side if beside else _GAP) + line for line in rest]
        blocks.append("\n".join(block))
    return "\n\n".join(blocks)


def _aligned(cell: str, width: int, left: bool) -> str:
    padding = " " * (width - cell_len(cell))
    return cell + padding if left else padding + cell


def _wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` cells, divided at spaces, else behind punctuation, else anywhere."""
    if cell_len(text) <= width:
        return [text]
    lines = [""]
    for word in re.findall(r"\S+\s*", text):
        pieces = [word] if cell_len(word.rstrip()) <= width else _PIECE.findall(word)
        for piece in pieces:
            if cell_len((lines[-1] + piece).rstrip()) > width and lines[-1]:
                lines.append("")
            *whole, rest = chop_cells(piece, width) if cell_len(piece.rstrip()) > width else [piece]
            if whole:
                lines[-1:] = whole
                lines.append("")
            lines[-1] += rest
    return [line.rstrip() for line in lines]
