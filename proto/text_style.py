"""The style of a text, and messages written in it: indentation, spaces, quotes, numbers, ends of lines."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from google.protobuf import text_format
from google.protobuf.message import Message

from dragon.proto.lexer import NUMBER, STRING, Tokens
from dragon.proto.text_tree import Tree

__all__ = ["Style", "find_style", "indentation"]

_WIDTH = 120
_WHOLE = re.compile(r"\d+\.0$")


@dataclass(frozen=True)
class Style:
    """How a text is written. unit: one step of indentation. brace, colon: the space before { and behind :."""

    unit: str = "  "
    brace: str = " "
    colon: str = " "
    quote: str = '"'
    newline: str = "\n"
    decimals: bool = False  # whole numbers of type float are written as 1.0

    def message(self, name: str, message: Message, indent: str, inline: bool) -> str:
        """A field that is a message, without indentation before it; further lines have that of `indent` and more.

        inline: on one line, if it is not too long.
        """
        if not message.ListFields():
            return f"{name}{self.brace}{{}}" if inline else f"{name}{self.brace}{{{self.newline}{indent}}}"
        if inline:
            body = self._rewrite(text_format.MessageToString(message, as_utf8=True, as_one_line=True).strip())
            line = f"{name}{self.brace}{{ {body} }}"
            if len(indent) + len(line) <= _WIDTH:
                return line
        body = self._rewrite(text_format.MessageToString(message, as_utf8=True).rstrip("\n"))
        lines = []
        for line in body.split("\n"):
            depth = (len(line) - len(line.lstrip(" "))) // 2
            lines.append(indent + self.unit * (depth + 1) + line.lstrip(" "))
        return self.newline.join([f"{name}{self.brace}{{", *lines, f"{indent}}}"])

    def scalar(self, name: str, value: str) -> str:
        """A field with a value that is written out already."""
        return f"{name}:{self.colon}{value}"

    def value(self, message: Message, name: str, index: int | None = None) -> str:
        """The value of a scalar field, one of several with `index`, written out."""
        one = type(message)()
        value = getattr(message, name)
        if index is None:
            setattr(one, name, value)
        else:
            getattr(one, name).append(value[index])
        text = text_format.MessageToString(one, as_utf8=True, as_one_line=True).strip()
        return self._rewrite(text.partition(": ")[2])

    def _rewrite(self, text: str) -> str:
        """Text of the usual style in this one."""
        tokens = Tokens(text, "<string>")
        out, done = [], 0
        for kind, value, start in zip(tokens.kinds, tokens.values, tokens.starts, strict=True):
            gap = text[done:start]
            if value == "{":
                gap = self.brace
            elif done and text[done - 1] == ":":
                gap = self.colon
            done = start + len(value)
            if kind == NUMBER and not self.decimals and _WHOLE.match(value):
                value = value[:-2]
            elif kind == STRING and self.quote not in value[1:-1] and "\\" not in value:
                value = f"{self.quote}{value[1:-1]}{self.quote}"
            out += [gap, value]
        return "".join(out[:-1])  # the last token says that the text ends


def find_style(text: str, tree: Tree, tokens: Tokens) -> Style:
    """The style of a text: what most of its entries have."""
    units: Counter[str] = Counter()
    braces: Counter[str] = Counter()
    colons: Counter[str] = Counter()
    pending = list(tree.entries)
    while pending:
        entry = pending.pop()
        if entry.listed:
            continue
        item = entry.items[0]
        between = text[entry.start + len(entry.name) : item.start]
        if item.body is None:
            colons[between.partition(":")[2]] += 1
            continue
        braces[between] += 1
        inner = item.body.entries
        outer, own = indentation(text, entry.start), indentation(text, inner[0].start) if inner else None
        if outer is not None and own is not None and own != outer and own.startswith(outer):
            units[own.removeprefix(outer)] += 1
        pending += inner
    strings = [value for kind, value in zip(tokens.kinds, tokens.values, strict=True) if kind == STRING]
    numbers = [value for kind, value in zip(tokens.kinds, tokens.values, strict=True) if kind == NUMBER]
    return Style(
        _usual(units, "  "),
        _usual(braces, " "),
        _usual(colons, " "),
        "'" if strings and all(value.startswith("'") for value in strings) else '"',
        "\r\n" if "\r\n" in text else "\n",
        any(map(_WHOLE.match, numbers)),
    )


def _usual(found: Counter[str], default: str) -> str:
    """The most frequent white space of one line; the default where there is none."""
    plain = [(space, count) for space, count in found.most_common() if not space.strip(" \t")]
    return plain[0][0] if plain else default


def indentation(text: str, offset: int) -> str | None:
    """The white space before a character on its line; None if something else stands there."""
    before = text[text.rfind("\n", 0, offset) + 1 : offset].removeprefix("\ufeff")
    return None if before.strip() else before
