"""Text format, third step: from tokens to a message, checked against its descriptor."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NoReturn, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from dragon.errors import nearest
from dragon.proto import dragon_pb2 as pb
from dragon.proto.hints import ENGINES, hint
from dragon.proto.lexer import END, NAME, NUMBER, STRING, SYMBOL, Tokens
from dragon.proto.refused import about_field
from dragon.proto.values import Field, ValueReader

__all__ = ["Parser"]

MAX_DEPTH = 100
_CLOSE = {"{": "}", "<": ">"}
_LISTS = {("SolverParameter", "device_id")}  # single numbers that forks write as lists
# single numbers that video-caffe repeats, one for each axis, and the field that holds the list here
_SHAPES = {("PoolingParameter", f"{short}{size}"): f"{short}_shape" for short, size in
           (("kernel", "_size"), ("stride", ""), ("pad", ""))}  # fmt: skip


@cache
def _fields(descriptor: Descriptor) -> dict[str, Field]:
    return {f.name: Field(f) for f in descriptor.fields}


@cache
def _required(descriptor: Descriptor) -> tuple[str, ...]:
    return tuple(f.name for f in descriptor.fields if f.is_required)


class Parser(ValueReader):
    """Reads one text into one message.

    ``given[field]``: where in the text a field is first given, at the outermost level.
    ``entries[field]``: the line on which each entry of a repeated field of messages begins, at the outermost level.
    allow_unknown: skip unknown fields, and call warn for each.
    """

    def __init__(self, tokens: Tokens, allow_unknown: bool, warn: Callable[[str], None]) -> None:
        super().__init__(tokens)
        self._allow_unknown = allow_unknown
        self._warn = warn
        self.entries: dict[str, list[int]] = {}
        self.given: dict[str, int] = {}
        self._hinted: set[tuple[str, str]] = set()  # (message, field) of hints that were reported

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
                    if (descriptor.name, value) in _LISTS:
                        self._skip_device_list(at, value)
                        continue
                    if (descriptor.name, value) in _SHAPES:
                        self._one_more_axis(message, field, at)
                        continue
                    first = self._tokens.line(self._starts[seen[value]])
                    self._fail(at, f'"{value}" is given twice; it was given on line {first} already')
                self._at = at + 1
                if depth == 0:
                    self.given.setdefault(value, self._starts[at])
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

    def _message_field(self, message: Message, field: Field, named: int, depth: int) -> None:
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

    def _one_message(self, message: Message, field: Field, depth: int) -> None:
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

    def _list(self, field: Field, read_one: Callable[[], None]) -> None:
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

    def _scalar_field(self, message: Message, field: Field) -> None:
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
        if field.name == "engine" and self._is_engine_of_fork(field):
            name = self._values[self._at]
            self._report_hint(
                self._at, str(message.DESCRIPTOR.name), name, f"engine {name} chooses a library of a fork"
            )
            self._skip_value(field.name)
            return
        if (message.DESCRIPTOR.name, field.name) in _LISTS and self._values[self._at] == "[":
            self._skip_device_list(self._at, field.name)
            return
        setattr(message, field.name, self._scalar(field))

    def _one_more_axis(self, message: Message, field: Field, at: int) -> None:
        """Read a size that has been given already as that of one more axis."""
        sizes = getattr(message, _SHAPES[str(message.DESCRIPTOR.name), field.name]).dim
        if message.HasField(field.name):
            sizes.append(getattr(message, field.name))
        self._at = at + 1
        self._scalar_field(message, field)
        sizes.append(getattr(message, field.name))
        message.ClearField(field.name)

    def _is_engine_of_fork(self, field: Field) -> bool:
        """Whether the next value is an engine that only forks have; any unknown one, where unknown fields may pass."""
        value = self._values[self._at]
        if field.enum is None or self._kinds[self._at] != NAME or value in field.enum.values_by_name:
            return False
        return self._allow_unknown or value in ENGINES

    # -- fields and values of forks, and unknown fields

    def _report_hint(self, at: int, message: str, name: str, what: str) -> None:
        """Warn of a hint at its first occurrence in the text."""
        if (message, name) not in self._hinted:
            self._hinted.add((message, name))
            self._warn(str(self._error(at, f"{what}; it changes no result and is skipped")))

    def _skip_device_list(self, at: int, name: str) -> None:
        """Skip a list of devices, for which the schema has one number: one process computes on one device."""
        self._report_hint(at, "", name, f'"{name}" is a list, which divides the work over devices')
        if self._values[self._at] == name:
            self._at += 1
            if self._values[self._at] == ":":
                self._at += 1
        self._skip_value(name)

    def _unknown_field(self, descriptor: Descriptor, fields: dict[str, Field]) -> None:
        at = self._at
        name = self._values[at]
        meaning = hint(str(descriptor.name), name)
        if meaning is not None:
            self._report_hint(at, str(descriptor.name), name, f'"{name}" {meaning}')
        else:
            fork = about_field(str(descriptor.name), name) or _foreign(name)
            more = f":{fork}" if fork else _other_kind(descriptor, name) or nearest(name, fields)
            what = f'{descriptor.name} has no field "{name}"{more}'
            if not self._allow_unknown:
                self._judge_type()
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

    def _judge_type(self) -> None:
        """Fail on the type of the layer being read, if there is no such type: it explains the fields of its own."""
        from dragon.bases.registry import find_class, unknown_type

        at = self._in_layer("type")
        if at is not None and find_class(self._values[at][1:-1]) is None:
            self._fail(at, unknown_type(self._values[at][1:-1]))

    def _skip_value(self, name: str) -> None:
        """Skip a scalar, list or message of any depth."""
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

    def _not_a_field(self, at: int, close: str, opened: int) -> NoReturn:
        if close:
            line = self._tokens.line(self._starts[opened])
            what = f'expected a field or "{close}" for the "{self._values[opened]}" of line {line}'
        else:
            what = "expected a field"
        self._fail(at, f"{what}, got {self._got(at)}")


def _foreign(name: str) -> str:
    """What is said of the settings of a layer type that other forks have."""
    from dragon.bases.foreign_layers import describe_foreign_settings

    explained = describe_foreign_settings(name)
    return f" {explained}" if explained else ""


def _other_kind(descriptor: Descriptor, name: str) -> str:
    """A hint where a net was given for a solver, or a solver for a net."""
    for given, other in ((pb.SolverParameter, pb.NetParameter), (pb.NetParameter, pb.SolverParameter)):
        if descriptor is given.DESCRIPTOR and name in other.DESCRIPTOR.fields_by_name:
            return f"; this looks like a {'net' if other is pb.NetParameter else 'solver'}"
    return ""
