"""Text format, first step: from characters to tokens with their offsets."""

from __future__ import annotations

import re
from bisect import bisect_right

from dragon.errors import LayerName, Position, PrototxtError

__all__ = ["END", "NAME", "NUMBER", "STRING", "SYMBOL", "Tokens", "unescape"]

NAME, NUMBER, STRING, SYMBOL, END = range(5)

_TOKEN = re.compile(
    r"""(?P<name>[A-Za-z_]\w*)
      | (?P<number>(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[fF]?)(?![\w.]))
      | (?P<string>"(?:[^"\\\n]|\\[^\n])*"|'(?:[^'\\\n]|\\[^\n])*')
      | (?P<symbol>[{}<>\[\]:,;\-])
      | (?P<skip>(?:[ \t\r\n\f\v]+|\#[^\n]*)+)
      | (?P<open>["'])
      | (?P<other>.)""",
    re.VERBOSE | re.ASCII | re.DOTALL,
)
_KINDS = {"name": NAME, "number": NUMBER, "string": STRING, "symbol": SYMBOL}

_ESCAPE = re.compile(
    r"\\(?:(?P<octal>[0-7]{1,3})|x(?P<hex>[0-9a-fA-F]{1,2})|u(?P<short>[0-9a-fA-F]{4})"
    r"|U(?P<long>[0-9a-fA-F]{8})|(?P<char>.))",
    re.DOTALL,
)
_CHARS = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_CHARS |= {c: c for c in "\\'\"?"}


class Tokens:
    """The tokens of a text as parallel lists of kinds, values and offsets; the last token is END.

    Raises PrototxtError (``file:line:column: ...``) for a character that begins no token, or a string without end.
    """

    def __init__(self, text: str, filename: str) -> None:
        self.text = text
        self.filename = filename
        self.kinds: list[int] = []
        self.values: list[str] = []
        self.starts: list[int] = []
        self._lines: list[int] | None = None
        kinds, values, starts = self.kinds, self.values, self.starts
        for match in _TOKEN.finditer(text, 1 if text.startswith("\ufeff") else 0):
            group = match.lastgroup
            if group == "skip":
                continue
            kind = _KINDS.get(group or "")
            if kind is None:
                what = "string is not closed on its line" if group == "open" else _unexpected(match[0])
                raise self.error(match.start(), what)
            kinds.append(kind)
            values.append(match[0])
            starts.append(match.start())
        kinds.append(END)
        values.append("end of file")
        starts.append(len(text))

    def line(self, offset: int) -> int:
        """The line of a character offset, from 1."""
        return self._place(offset)[0]

    def error(self, offset: int, message: str, layer: LayerName | None = None) -> PrototxtError:
        """The exception for an error at a character offset, in the text of `layer`."""
        return PrototxtError(message, layer=layer, position=Position(self.filename, *self._place(offset)))

    def _place(self, offset: int) -> tuple[int, int]:
        if self._lines is None:
            self._lines = [0, *(m.end() for m in re.finditer("\n", self.text))]
        line = bisect_right(self._lines, offset)
        return line, offset - self._lines[line - 1] + 1


def _unexpected(char: str) -> str:
    if char == "\0":
        return "this is a binary file, not text (weights are read elsewhere)"
    if char.isdigit():
        return "not a number"
    return f"unexpected character {char!r}"


def unescape(quoted: str) -> bytes:
    """The bytes of a quoted string. Raises ValueError for an unknown escape."""
    body = quoted[1:-1]
    if "\\" not in body:
        return body.encode("utf-8")
    out: list[bytes] = []
    done = 0
    for match in _ESCAPE.finditer(body):
        out.append(body[done : match.start()].encode("utf-8"))
        out.append(_escape(match))
        done = match.end()
    out.append(body[done:].encode("utf-8"))
    return b"".join(out)


def _escape(match: re.Match[str]) -> bytes:
    group, digits = match.lastgroup or "", match[match.lastgroup or 0]
    if group in ("octal", "hex"):
        value = int(digits, 8 if group == "octal" else 16)
        if value > 255:
            raise ValueError(f"escape {match[0]} is larger than a byte")
        return bytes([value])
    if group in ("short", "long"):
        point = int(digits, 16)
        if point > 0x10FFFF or 0xD800 <= point < 0xE000:
            raise ValueError(f"escape {match[0]} is not a character")
        return chr(point).encode("utf-8")
    if digits not in _CHARS:
        raise ValueError(f"unknown escape {ascii(match[0])[1:-1]}")
    return _CHARS[digits].encode()
