"""Text format, second step: from tokens to the value of one field, with errors that name the position."""

from __future__ import annotations

from typing import NoReturn

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from dragon.errors import LayerName, PrototxtError, nearest
from dragon.proto.lexer import END, NAME, NUMBER, STRING, SYMBOL, Tokens, unescape
from dragon.proto.refused import about_value

__all__ = ["Field", "ValueReader"]

INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_FEW = 12  # names that a message lists
_NOT_FINITE = {"inf": float("inf"), "infinity": float("inf"), "nan": float("nan")}
_BOOLS = {
    "true": True,
    "True": True,
    "t": True,
    "1": True,
    "false": False,
    "False": False,
    "f": False,
    "0": False,
}


class Field:
    """The properties of a field that the parser needs, looked up once."""

    __slots__ = ("cpp_type", "enum", "is_message", "is_text", "message", "name", "repeated")

    def __init__(self, field: FieldDescriptor) -> None:
        self.name = str(field.name)
        assert field.containing_type is not None  # it is no extension
        self.message = str(field.containing_type.name)
        self.repeated = bool(field.is_repeated)
        self.cpp_type = int(field.cpp_type)
        self.is_message = field.message_type is not None
        self.is_text = field.type == FieldDescriptor.TYPE_STRING
        self.enum: EnumDescriptor | None = field.enum_type


class ValueReader:
    """Reads values from the tokens at a position, and moves it past them."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._kinds, self._values, self._starts = tokens.kinds, tokens.values, tokens.starts
        self._at = 0
        self._layer_at: int | None = None

    def _scalar(self, field: Field) -> bool | int | float | str | bytes:
        cpp = field.cpp_type
        if cpp == FieldDescriptor.CPPTYPE_STRING:
            return self._string(field)
        if cpp in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
            return self._float(field)
        if cpp == FieldDescriptor.CPPTYPE_BOOL:
            at = self._at
            known = _BOOLS.get(self._values[at]) if self._kinds[at] in (NAME, NUMBER) else None
            if known is None:
                self._fail(at, f'"{field.name}" is true or false, got {self._got(at)}')
            self._at = at + 1
            return known
        if cpp == FieldDescriptor.CPPTYPE_ENUM:
            return self._enum(field)
        return self._integer(field, *INTEGERS[cpp])

    def _minus(self) -> bool:
        if self._values[self._at] == "-" and self._kinds[self._at] == SYMBOL:
            self._at += 1
            return True
        return False

    def _integer(self, field: Field, low: int, high: int) -> int:
        first = self._at
        negative = self._minus()
        at = self._at
        value = _whole(self._values[at]) if self._kinds[at] == NUMBER else None
        if value is not None and negative:
            value = -value
        if value is None or not low <= value <= high:
            self._fail(
                first,
                f'"{field.name}" is a whole number from {low} to {high}, got {self._got(at, negative)}',
            )
        self._at = at + 1
        return value

    def _float(self, field: Field) -> float:
        negative = self._minus()
        at = self._at
        text = self._values[at].lower()
        value: float | None = None
        if self._kinds[at] == NUMBER:
            hexadecimal = _whole(text) if text.startswith("0x") else None
            try:
                value = float(text.rstrip("f") if hexadecimal is None else hexadecimal)
            except OverflowError:
                value = float("inf")
        elif self._kinds[at] == NAME:
            value = _NOT_FINITE.get(text)
        if value is None:
            self._fail(at, f'"{field.name}" is a number, got {self._got(at)}')
        self._at = at + 1
        return -value if negative else value

    def _enum(self, field: Field) -> int:
        first = self._at
        negative = self._minus()
        at = self._at
        enum, text = field.enum, self._values[at]
        assert enum is not None
        number: int | None = None
        if self._kinds[at] == NUMBER:
            number = _whole(text)
        elif self._kinds[at] == NAME and text in enum.values_by_name:
            number = enum.values_by_name[text].number
        if number is None or negative or number not in enum.values_by_number:
            names = list(enum.values_by_name)
            fork = about_value(field.message, field.name, text)
            more = f":{fork}" if fork else nearest(text, names)
            got, known = self._got(at, negative), ", ".join(names)
            what = f"is one of {known}, got {got}" if len(names) <= _FEW else f"has no value {got}"
            self._fail(first, f'"{field.name}" {what}{more}')
        self._at = at + 1
        return number

    def _string(self, field: Field) -> str | bytes:
        first = self._at
        if self._kinds[first] != STRING:
            self._fail(first, f'"{field.name}" is a string in quotes, got {self._got(first)}')
        parts: list[bytes] = []
        while self._kinds[self._at] == STRING:  # adjacent strings are one
            try:
                parts.append(unescape(self._values[self._at]))
            except UnicodeEncodeError:
                self._fail(self._at, f'"{field.name}" is not UTF-8 text')
            except ValueError as error:
                self._fail(self._at, f'"{field.name}": {error}')
            self._at += 1
        value = b"".join(parts)
        if not field.is_text:
            return value
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            self._fail(first, f'"{field.name}" is not UTF-8 text')

    # -- errors

    def _got(self, at: int, negative: bool = False) -> str:
        value = "-" * negative + self._values[at]
        if self._kinds[at] == END:
            return value
        if self._kinds[at] == STRING:
            return value if len(value) <= 60 else f"{value[:56]}...{value[0]}"
        return f'"{value if len(value) <= 60 else value[:57] + "..."}"'

    def _error(self, at: int, message: str) -> PrototxtError:
        name = self._layer_name()
        return self._tokens.error(self._starts[at], message, LayerName(name) if name else None)

    def _fail(self, at: int, message: str) -> NoReturn:
        raise self._error(at, message)

    def _layer_name(self) -> str:
        """The name of the layer being read, even if it comes later in the text; empty outside layers."""
        at = self._in_layer("name")
        return "" if at is None else self._values[at][1:-1]

    def _in_layer(self, field: str) -> int | None:
        """The index of the token with the value of a string field in the layer being read; None if there is none."""
        start = self._layer_at
        if start is None or self._values[start] not in ("layer", "layers"):
            return None
        depth = 0
        for i in range(start + 1, len(self._kinds) - 2):
            kind, value = self._kinds[i], self._values[i]
            if kind == SYMBOL:
                depth += (value in "{<") - (value in "}>")
                if depth == 0 and value in "}>":
                    break
            elif kind == NAME and value == field and depth == self._name_depth(start) and self._kinds[i + 2] == STRING:
                return i + 2
        return None

    def _name_depth(self, start: int) -> int:
        """How many braces deep a layer's name is: the oldest nets write ``layers { layer { name: ...``."""
        return 2 if self._values[start] == "layers" and self._values[start + 2] == "layer" else 1


def _whole(text: str) -> int | None:
    """A decimal, octal (leading 0) or hexadecimal whole number, or None."""
    try:
        if text[:2] in ("0x", "0X"):
            return int(text, 16)
        if len(text) > 1 and text[0] == "0":
            return int(text, 8)
        return int(text)
    except ValueError:
        return None
