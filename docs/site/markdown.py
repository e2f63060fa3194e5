"""Pieces of Markdown: tables, and text that is not Markdown yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["code", "plain", "table"]


def plain(text: str) -> str:
    """One line of text whose characters mean themselves, but for `code` between backticks."""
    parts = " ".join(text.split()).split("`")
    if len(parts) % 2 == 0:  # a backtick without a partner
        return _escape("`".join(parts)).replace("`", "\\`")
    return "".join(f"`{part}`" if k % 2 else _escape(part) for k, part in enumerate(parts))


def _escape(text: str) -> str:
    for character in "\\*_<>[]|$":
        text = text.replace(character, f"&#{ord(character)};")
    return text


def code(text: str) -> str:
    """Text in the typeface of code, also within a table; nothing for an empty text."""
    return f"<code>{_escape(text.replace('&', '&amp;'))}</code>" if text else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are Markdown without line ends."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
