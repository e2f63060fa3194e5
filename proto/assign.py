"""Fields of messages set from text: `base_lr=0.01`, `convolution_param.kernel_size=3,5`, `param[0].lr_mult=0`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from dragon.errors import PrototxtError, UsageError
from dragon.proto.text import parse_text

__all__ = ["Assignment", "has_field"]

_STEP = re.compile(r"([A-Za-z_]\w*)(?:\[(\d{1,6})\])?(\.|$)")
_QUOTED = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')\s*""", re.DOTALL)
_NEW_ENTRIES = 64  # of a repeated message, which an index behind the last one adds

Step = tuple[str, int | None]


@dataclass(frozen=True)
class Assignment:
    """`path=value`. A name in the path may stand in quotes, within which = and . have no meaning.

    text: the whole of it. flag: what messages say first.
    """

    path: str
    value: str
    text: str
    flag: str = "--set"

    @classmethod
    def parse(cls, text: str, flag: str = "--set") -> Assignment:
        """Divide the text at its first = outside quotes. Raises UsageError without one."""
        start = match.end() if (match := _QUOTED.match(text)) else 0
        path, equals, value = text[start:].partition("=")
        path = (text[:start] + path).strip()
        if not equals or not path:
            raise UsageError(f"{flag} takes FIELD=VALUE, such as base_lr=0.01, got {text!r}")
        return cls(path, value.strip(), text, flag)

    def split_quoted(self) -> tuple[str | None, str]:
        """The quoted name at the start of the path, None without one, and the path behind it."""
        match = _QUOTED.match(self.path)
        if match is None:
            return None, self.path
        name = re.sub(r"\\(.)", r"\1", match[1] if match[1] is not None else match[2])
        return name, self.path[match.end() :]

    def set(self, message: Message, path: str) -> None:
        """Set the field at `path`, dotted names with indices, of the message.

        A repeated field takes values with commas between them, and nothing to be emptied; it is replaced. A message
        takes its fields in braces. A step through a repeated message without an index means all its entries. Raises
        UsageError for an unknown field, with the nearest, and for a value of another type.
        """
        *steps, (name, index) = self._steps(path)
        targets = [message]
        for step in steps:
            targets = [inner for target in targets for inner in self._inner(target, *step)]
        for target in targets:
            self._set(target, name, index)

    def fail(self, message: str) -> NoReturn:
        """Raise UsageError that names the assignment."""
        raise UsageError(f"{self.flag} {self.text}: {message}") from None

    def _steps(self, path: str) -> list[Step]:
        steps: list[Step] = []
        at = 0
        while not steps or at < len(path) or path.endswith("."):
            match = _STEP.match(path, at)
            if match is None:
                self.fail(f'"{path}" is no dotted name of a field, such as convolution_param.num_output')
            steps.append((match[1], None if match[2] is None else int(match[2])))
            at = match.end()
        return steps

    def _field(self, message: Message, name: str) -> FieldDescriptor:
        found = message.DESCRIPTOR.fields_by_name.get(name)
        if found is None:
            self._parsed(message, f"{name}: 0")  # fails, with the nearest name and what forks mean by it
            self.fail(f'"{name}" has no effect here')
        return cast(FieldDescriptor, found)  # the stubs name the same class of the C library too

    def _inner(self, message: Message, name: str, index: int | None) -> list[Any]:
        """The messages that a step leads to."""
        field = self._field(message, name)
        if field.message_type is None:
            self.fail(f'"{name}" of {message.DESCRIPTOR.name} is a value, which has no fields')
        if not field.is_repeated:
            if index is not None:
                self.fail(f'"{name}" of {message.DESCRIPTOR.name} is no list: leave out [{index}]')
            getattr(message, name).SetInParent()
            return [getattr(message, name)]
        entries = getattr(message, name)
        if index is None:
            if not entries:
                self.fail(f'"{name}" of {message.DESCRIPTOR.name} is an empty list: say which entry, as in {name}[0]')
            return list(entries)
        self._check_index(name, index, len(entries) + _NEW_ENTRIES)
        while len(entries) <= index:
            entries.add()
        return [entries[index]]

    def _check_index(self, name: str, index: int, count: int) -> None:
        if index >= count:
            self.fail(f'"{name}" has no entry {index}')

    def _set(self, message: Message, name: str, index: int | None) -> None:
        field = self._field(message, name)
        if index is not None and not field.is_repeated:
            self.fail(f'"{name}" of {message.DESCRIPTOR.name} is no list: leave out [{index}]')
        if field.message_type is not None:
            if self.value and self.value[0] not in "{[<":
                self.fail(
                    f'"{name}" is a message: set its fields, as in {name}.FIELD=VALUE, or give {{ FIELD: VALUE }}'
                )
            texts = [self.value] if self.value else []
        elif field.is_repeated and index is None:
            texts = _listed(self.value)
        else:
            texts = [self.value]
        as_text = field.cpp_type == FieldDescriptor.CPPTYPE_STRING
        literals = (_literal(text) if as_text else text for text in texts)
        parsed = self._parsed(message, " ".join(f"{name}: {literal}" for literal in literals))
        if {found.name for found, _ in parsed.ListFields()} > {name}:
            self.fail(f"{self.value!r} is more than a value")
        if index is None:
            message.ClearField(name)
            message.MergeFrom(parsed)
            return
        entries, values = getattr(message, name), getattr(parsed, name)
        if len(values) != 1:
            self.fail(f'"{name}[{index}]" takes one value, got {len(values)}')
        if field.message_type is not None:
            self._check_index(name, index, len(entries))
            entries[index].CopyFrom(values[0])
            return
        self._check_index(name, index, len(entries) + 1)
        entries[index : index + 1] = values

    def _parsed(self, like: Message, text: str) -> Message:
        """A message of the same type as `like` from prototxt."""
        try:
            return parse_text(text, type(like)())
        except PrototxtError as error:
            self.fail(error.message)


def has_field(message: Message, path: str) -> bool:
    """Whether a path begins with a field of the message."""
    match = _STEP.match(path)
    return match is not None and match[1] in message.DESCRIPTOR.fields_by_name


def _listed(value: str) -> list[str]:
    """The values of a list: `1,2`, `[1, 2]`, or nothing. A value in quotes may hold commas."""
    inner = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    found = [match.strip() for match in re.findall(r"""\s*(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^,])+""", inner)]
    return found if inner.strip() else []


def _literal(text: str) -> str:
    """A string in quotes; one that has them already stays."""
    if _QUOTED.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
