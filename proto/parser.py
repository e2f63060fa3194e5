"""Text format, second step: tokens to a message, checked against its descriptor."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NoReturn, cast

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from dragon.errors import PrototxtError, nearest
from dragon.proto.lexer import END, NAME, NUMBER, STRING, SYMBOL, Tokens, unescape

__all__ = ["Parser"]

MAX_DEPTH = 100
_CLOSE = {"{": "}", "<": ">"}
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
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


class _Field:
    """What the parser asks of a field, looked up once."""

    __slots__ = ("cpp_type", "enum", "is_message", "is_text", "name", "repeated")

    def __init__(self, field: FieldDescriptor) -> None:
        self.name = str(field.name)
        self.repeated = bool(field.is_repeated)
        self.cpp_type = int(field.cpp_type)
        self.is_message = field.message_type is not None
        self.is_text = field.type == FieldDescriptor.TYPE_STRING
        self.enum: EnumDescriptor | None = field.enum_type


@cache
def _fields(descriptor: Descriptor) -> dict[str, _Field]:
    return {f.name: _Field(f) for f in descriptor.fields}


@cache
def _required(descriptor: Descriptor) -> tuple[str, ...]:
    return tuple(f.name for f in descriptor.fields if f.is_required)


class Parser:
    """One parse of one text.

    ``entries[field]`` holds the lines on which the entries of a repeated message of the outermost one begin.
    """

    def __init__(self, tokens: Tokens, allow_unknown: bool, warn: Callable[[str], None]) -> None:
        self._tokens = tokens
        self._kinds, self._values, self._starts = tokens.kinds, tokens.values, tokens.starts
        self._at = 0
        self._allow_unknown = allow_unknown
        self._warn = warn
        self._layer_at: int | None = None
        self.entries: dict[str, list[int]] = {}

    def parse(self, message: Message) -> None:
        """Read all tokens into message. Raises PrototxtError."""
        self._body(message, "", 0, 0)

    # -- messages

    def _body(self, message: Message, close: str, opened: int, depth: int) -> None:
        """Fields up to the closing bracket (or the end of the text when close is empty)."""
        values, kinds = self._values, self._kinds
        descriptor = cast(Descriptor, message.DESCRIPTOR)
        fields = _fields(descriptor)
        seen: dict[str, int] = {}
        while True:
            at = self._at
            kind, value = kinds[at], values[at]
            if kind == NAME:
                field = fields.get(value)
                if field is None:
                    self._unknown_field(descriptor, fields)
                    continue
                if not field.repeated and seen.setdefault(value, at) != at:
                    first = self._tokens.line(self._starts[seen[value]])
                    self._fail(at, f'"{value}" is given twice; it was given on line {first} already')
                self._at = at + 1
                if field.is_message:
                    self._message_field(message, field, at, depth)
                else:
                    self._scalar_field(message, field)
                if kinds[self._at] == SYMBOL and values[self._at] in ",;":
                    self._at += 1
            elif kind == SYMBOL and value == close:
                self._at = at + 1
                break
            elif kind == END and not close:
                break
            else:
                self._not_a_field(at, close, opened)
        for name in _required(descriptor):
            if not message.HasField(name):
                self._fail(opened, f'{descriptor.name} needs "{name}"')

    def _message_field(self, message: Message, field: _Field, named: int, depth: int) -> None:
        values = self._values
        if values[self._at] == ":":
            self._at += 1
        if depth == 0:
            self._layer_at = named
        if field.repeated and values[self._at] == "[" and self._kinds[self._at] == SYMBOL:
            self._list(field, lambda: self._one_message(message, field, depth))
        else:
            self._one_message(message, field, depth)
        if depth == 0:
            self._layer_at = None

    def _one_message(self, message: Message, field: _Field, depth: int) -> None:
        opened = self._at
        close = _CLOSE.get(self._values[opened]) if self._kinds[opened] == SYMBOL else None
        if close is None:
            self._fail(opened, f'"{field.name}" is a message and needs "{{", got {self._got(opened)}')
        if depth >= MAX_DEPTH:
            self._fail(opened, f"messages are nested more than {MAX_DEPTH} deep")
        self._at = opened + 1
        if field.repeated:
            inner = getattr(message, field.name).add()
            if depth == 0:
                line = self._tokens.line(self._starts[opened])
                self.entries.setdefault(field.name, []).append(line)
        else:
            inner = getattr(message, field.name)
            inner.SetInParent()
        self._body(inner, close, opened, depth + 1)

    def _list(self, field: _Field, read_one: Callable[[], None]) -> None:
        """``[a, b]``, the short way to write a repeated field."""
        self._at += 1
        if self._values[self._at] == "]":
            self._at += 1
            return
        while True:
            read_one()
            at = self._at
            self._at += 1
            if self._kinds[at] != SYMBOL or self._values[at] not in ",]":
                self._fail(at, f'expected "," or "]" in the list of "{field.name}", got {self._got(at)}')
            if self._values[at] == "]":
                return

    # -- values

    def _scalar_field(self, message: Message, field: _Field) -> None:
        if self._values[self._at] != ":":
            self._fail(self._at, f'"{field.name}" needs ":" and a value, got {self._got(self._at)}')
        self._at += 1
        if field.repeated:
            items = getattr(message, field.name)
            if self._values[self._at] == "[" and self._kinds[self._at] == SYMBOL:
                self._list(field, lambda: items.append(self._scalar(field)))
            else:
                items.append(self._scalar(field))
            return
        if (
            field.name == "engine"
            and self._allow_unknown
            and field.enum is not None
            and self._kinds[self._at] == NAME
            and self._values[self._at] not in field.enum.values_by_name
        ):  # a fork's engine name changes speed, not results
            self._warn(str(self._error(self._at, f"engine {self._values[self._at]} is unknown; skipped")))
            self._at += 1
            return
        setattr(message, field.name, self._scalar(field))

    def _scalar(self, field: _Field) -> bool | int | float | str | bytes:
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
        return self._integer(field, *_INTEGERS[cpp])

    def _minus(self) -> bool:
        if self._values[self._at] == "-" and self._kinds[self._at] == SYMBOL:
            self._at += 1
            return True
        return False

    def _integer(self, field: _Field, low: int, high: int) -> int:
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

    def _float(self, field: _Field) -> float:
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

    def _enum(self, field: _Field) -> int:
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
            self._fail(
                first,
                f'"{field.name}" is one of {", ".join(names)}, got {self._got(at, negative)}{nearest(text, names)}',
            )
        self._at = at + 1
        return number

    def _string(self, field: _Field) -> str | bytes:
        first = self._at
        if self._kinds[first] != STRING:
            self._fail(first, f'"{field.name}" is a string in quotes, got {self._got(first)}')
        parts: list[bytes] = []
        while self._kinds[self._at] == STRING:  # neighbours are one string
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

    # -- unknown fields

    def _unknown_field(self, descriptor: Descriptor, fields: dict[str, _Field]) -> None:
        at = self._at
        name = self._values[at]
        what = f'{descriptor.name} has no field "{name}"{nearest(name, fields)}'
        if not self._allow_unknown:
            self._fail(at, what)
        self._warn(str(self._error(at, what + "; skipped")))
        self._at = at + 1
        if self._values[self._at] == ":" and self._kinds[self._at] == SYMBOL:
            self._at += 1
        elif self._values[self._at] not in _CLOSE:
            self._fail(self._at, f'"{name}" needs ":" or "{{", got {self._got(self._at)}')
        self._skip_value(name)
        if self._kinds[self._at] == SYMBOL and self._values[self._at] in ",;":
            self._at += 1

    def _skip_value(self, name: str) -> None:
        """Step over a scalar, list or message of any depth."""
        self._minus()
        at = self._at
        if self._kinds[at] == STRING:
            while self._kinds[self._at] == STRING:
                self._at += 1
            return
        if self._kinds[at] in (NAME, NUMBER):
            self._at = at + 1
            return
        closers = {"{": "}", "<": ">", "[": "]"}
        pending: list[str] = []
        while True:
            at = self._at
            kind, value = self._kinds[at], self._values[at]
            if kind == SYMBOL and value in closers:
                pending.append(closers[value])
            elif not pending:
                self._fail(at, f'"{name}" needs a value, got {self._got(at)}')
            elif kind == END or (kind == SYMBOL and value in ("}", ">", "]") and value != pending[-1]):
                self._fail(at, f'expected "{pending[-1]}" to end "{name}", got {self._got(at)}')
            elif kind == SYMBOL and value == pending[-1]:
                pending.pop()
            self._at = at + 1
            if not pending:
                return

    # -- errors

    def _got(self, at: int, negative: bool = False) -> str:
        value = "-" * negative + self._values[at]
        if self._kinds[at] == END:
            return value
        if self._kinds[at] == STRING:
            return value if len(value) <= 60 else f"{value[:56]}...{value[0]}"
        return f'"{value if len(value) <= 60 else value[:57] + "..."}"'

    def _not_a_field(self, at: int, close: str, opened: int) -> NoReturn:
        if close:
            line = self._tokens.line(self._starts[opened])
            what = f'expected a field or "{close}" for the "{self._values[opened]}" of line {line}'
        else:
            what = "expected a field"
        self._fail(at, f"{what}, got {self._got(at)}")

    def _error(self, at: int, message: str) -> PrototxtError:
        name = self._layer_name()
        return self._tokens.error(self._starts[at], f'{message}, in layer "{name}"' if name else message)

    def _fail(self, at: int, message: str) -> NoReturn:
        raise self._error(at, message)

    def _layer_name(self) -> str:
        """Name of the layer being read, wherever in the layer it stands; empty outside layers."""
        start = self._layer_at
        if start is None or self._values[start] not in ("layer", "layers"):
            return ""
        depth = 0
        for i in range(start + 1, len(self._kinds) - 2):
            kind, value = self._kinds[i], self._values[i]
            if kind == SYMBOL:
                depth += (value in "{<") - (value in "}>")
                if depth == 0 and value in "}>":
                    break
            elif kind == NAME and value == "name" and depth == self._name_depth(start) and self._kinds[i + 2] == STRING:
                return self._values[i + 2][1:-1]
        return ""

    def _name_depth(self, start: int) -> int:
        """The oldest nets write ``layers { layer { name: ...``."""
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
