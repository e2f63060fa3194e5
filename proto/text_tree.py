"""The places of all entries of a text: which characters are a field, its value, its message.

Only for text that the parser has accepted; fields that it skipped have places too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from dragon.proto.lexer import END, NAME, NUMBER, STRING, SYMBOL, Tokens

__all__ = ["Entry", "Item", "Tree", "read_tree"]

_CLOSE = {"{": "}", "<": ">"}


@dataclass
class Item:
    """One value of a field: characters start to end of the text; body: its entries, if it is a message."""

    start: int
    end: int
    body: Tree | None = None


@dataclass
class Entry:
    """A field as it stands in the text: name and value, or several values in brackets. end: behind a comma, if any."""

    name: str
    start: int
    end: int
    items: list[Item]
    listed: bool = False  # written as [a, b]


@dataclass
class Tree:
    """The entries of a message. opened: behind the opening bracket. closed: before the closing one."""

    opened: int
    closed: int
    entries: list[Entry] = field(default_factory=list)

    def items(self, name: str) -> list[tuple[Entry, Item]]:
        """All values of a field, in order, each with its entry."""
        return [(entry, item) for entry in self.entries if entry.name == name for item in entry.items]


def read_tree(tokens: Tokens) -> Tree:
    """The entries of a whole text."""
    reader = _Reader(tokens)
    start = 1 if tokens.text.startswith("\ufeff") else 0
    tree = Tree(start, len(tokens.text))
    tree.entries.extend(reader.entries(""))
    return tree


class _Reader:
    def __init__(self, tokens: Tokens) -> None:
        self._kinds, self._values, self._starts = tokens.kinds, tokens.values, tokens.starts
        self._at = 0

    def _end(self) -> int:
        """The offset behind the token before the present one."""
        return self._starts[self._at - 1] + len(self._values[self._at - 1])

    def _is(self, symbols: str) -> bool:
        return self._kinds[self._at] == SYMBOL and self._values[self._at] in symbols

    def entries(self, close: str) -> Iterator[Entry]:
        while self._kinds[self._at] == NAME:
            name, start = self._values[self._at], self._starts[self._at]
            self._at += 1
            if self._is(":"):
                self._at += 1
            listed = self._is("[")
            items = list(self._list()) if listed else [self._item()]
            if self._is(",;"):
                self._at += 1
            yield Entry(name, start, self._end(), items, listed)
        assert self._kinds[self._at] == END if not close else self._is(close), "the parser accepted this text"

    def _list(self) -> Iterator[Item]:
        self._at += 1
        while not self._is("]"):
            yield self._item()
            if self._is(","):
                self._at += 1
        self._at += 1

    def _item(self) -> Item:
        start = self._starts[self._at]
        if self._is("{<"):
            close = _CLOSE[self._values[self._at]]
            self._at += 1
            body = Tree(self._end(), 0)
            body.entries.extend(self.entries(close))
            body.closed = self._starts[self._at]
            self._at += 1
            return Item(start, self._end(), body)
        if self._is("-"):
            self._at += 1
        if self._kinds[self._at] == STRING:
            while self._kinds[self._at] == STRING:
                self._at += 1
        else:
            assert self._kinds[self._at] in (NAME, NUMBER), "the parser accepted this text"
            self._at += 1
        return Item(start, self._end())
