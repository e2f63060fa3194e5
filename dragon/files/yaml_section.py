"""A mapping of a YAML file whose values are asked for by type; an error says where it is: file:line: message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from dragon.counting import how_many
from dragon.errors import UsageError, nearest, one_line

__all__ = ["Section", "plain"]

_MAX_INTEGER = 2**31 - 1


@dataclass(frozen=True)
class Section:
    """A mapping of the file. path: its place, as in `variants[1].solver`. lines: the line of each key.

    The methods that take a key return its value, and raise UsageError for one of the wrong type.
    """

    file: str
    path: str
    line: int
    values: dict[str, Any]
    lines: dict[str, int]

    def fail(self, message: str, key: str | None = None) -> NoReturn:
        """Raise UsageError at the line of `key`, or of the section."""
        raise UsageError(self.at(message, key))

    def at(self, message: str, key: str | None = None) -> str:
        """A message in one line, with the file and the line of `key`, or of the section."""
        line = self.lines.get(key, self.line) if key else self.line
        return f"{self.file}:{line}: {one_line(message)}"

    def name(self, key: str) -> str:
        """The full name of a key, as in `variants[1].solver`."""
        return f"{self.path}.{key}" if self.path else key

    def check_keys(self, known: tuple[str, ...], required: tuple[str, ...] = ()) -> None:
        """Raise UsageError for a key not in `known`, naming the nearest, and for a required one without a value."""
        for key in self.values:
            if key not in known:
                self.fail(f'unknown key "{self.name(key)}"{nearest(key, known)}; known: {", ".join(known)}', key)
        for key in required:
            if key not in self.values:
                self.fail(f'"{self.name(key)}" is missing')
            if self.values[key] is None:
                self.fail(f'"{self.name(key)}" has no value', key)

    def text(self, key: str, default: str | None = None) -> str | None:
        """A string."""
        value = self.values.get(key, default)
        if value is not None and not isinstance(value, str):
            self._fail_type(key, "a string", value)
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            self._fail_type(key, "true or false", value)
        return value

    def integer(self, key: str, least: int = 1, most: int = _MAX_INTEGER) -> int | None:
        """A whole number from `least` to `most`, at most one of 32 bits; None if the key is missing."""
        value = self.values.get(key)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
            self._fail_type(key, f"a whole number of at least {least}", value)
        if value is not None and value > most:
            self._fail_type(key, f"a whole number of at most {most}", value)
        return value

    def integers(self, key: str, default: list[int], least: int = 0) -> list[int]:
        """Different whole numbers of at least `least` that fit into 32 bits; a single one counts as a list."""
        values = self._listed(key, default)
        for value in values:
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                self._fail_type(key, f"whole numbers of at least {least}", value)
            if value > _MAX_INTEGER:
                self._fail_type(key, f"whole numbers of at most {_MAX_INTEGER}", value)
        self._distinct(key, values)
        return values

    def number(self, key: str) -> float | None:
        """A finite number; None if the key is missing. Accepts `1e-3`, for YAML a string."""
        value = self.values.get(key)
        if value is None:
            return None
        number = _float(value)
        if number is None:
            self._fail_type(key, "a number", value)
        return number

    def numbers(self, key: str, zero: bool = False) -> list[float]:
        """Different positive numbers, or 0 with `zero`; a single one counts as a list. Accepts `1e-3`."""
        numbers = []
        expected = "numbers of at least 0" if zero else "positive numbers"
        for value in self._listed(key, []):
            number = _float(value)
            if number is None or number < 0 or (number == 0 and not zero):
                self._fail_type(key, expected, value)
            numbers.append(number)
        self._distinct(key, numbers)
        return numbers

    def values_of(self, key: str) -> list[float | int | str]:
        """Different numbers or words; a single one counts as a list. `1e-3`, for YAML a string, is a number."""
        found: list[float | int | str] = []
        for value in self._listed(key, []):
            if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MAX_INTEGER:
                found.append(value)
            elif (number := _float(value)) is not None:
                found.append(number)
            elif isinstance(value, str):
                found.append(value)
            else:
                self._fail_type(key, "numbers or words", value)
        self._distinct(key, found)
        return found

    def choice(self, key: str, known: tuple[str, ...], default: str) -> str:
        """One of the words in `known`."""
        value = self.text(key, default)
        if value not in known:
            self.fail(
                f'"{self.name(key)}": unknown "{value}"{nearest(str(value), known)}; known: {", ".join(known)}', key
            )
        return value

    def choices(self, key: str, known: tuple[str, ...], default: tuple[str, ...]) -> tuple[str, ...]:
        """Some of the words in `known`, in the order of `known`; a single one counts as a list."""
        given = self._listed(key, list(default))
        for value in given:
            if not isinstance(value, str) or value not in known:
                hint = nearest(str(value), known)
                self.fail(f'"{self.name(key)}": unknown "{value}"{hint}; known: {", ".join(known)}', key)
        return tuple(word for word in known if word in given)

    def words(self, key: str) -> list[str]:
        """Different strings; a single one counts as a list. Empty if the key is missing."""
        given = self._listed(key, []) if key in self.values else []
        for value in given:
            if not isinstance(value, str):
                self._fail_type(key, "words", value)
        self._distinct(key, given)
        return given

    def listed(self, key: str, default: list[Any], empty: bool = False) -> list[Any]:
        """A list of values of any kind; a single one counts as a list. empty: a list without values is allowed."""
        if empty and self.values.get(key) == []:
            return []
        return self._listed(key, default)

    def named(self, key: str, example: str) -> list[tuple[str, dict[str, Any], Section]]:
        """A list of names, or of mappings of one name to its settings: name, settings, and a section at its line."""
        found: list[tuple[str, dict[str, Any], Section]] = []
        for entry in self.listed(key, []):
            if isinstance(entry, str):
                found.append((entry, {}, Section(self.file, self.path, self.lines[key], {}, {})))
                continue
            if not isinstance(entry, Section) or len(entry.values) != 1:
                self.fail(f'"{self.name(key)}" must be a list of names, or of mappings such as {example}', key)
            ((name, given),) = entry.values.items()
            if given is not None and not isinstance(given, Section):
                entry.fail(f'"{entry.name(name)}" must be a mapping, got {_shown(given)}', name)
            found.append((name, given.plain() if given is not None else {}, entry))
        return found

    def section(self, key: str) -> Section | None:
        """A mapping; None if the key is missing."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, Section):
            self._fail_type(key, "a mapping", value)
        return value

    def sections(self, key: str) -> list[Section]:
        """A list of one or more mappings."""
        values = self.values.get(key)
        if not isinstance(values, list) or not values:
            self._fail_type(key, "a list of mappings", values)
        for value in values:
            if not isinstance(value, Section):
                self._fail_type(key, "a list of mappings", value)
        return list(values)

    def plain(self) -> dict[str, Any]:
        """The section as ordinary Python values."""
        return {key: plain(value) for key, value in self.values.items()}

    def _listed(self, key: str, default: list[Any]) -> list[Any]:
        value = self.values.get(key, default)
        if value == [] and key in self.values:
            self.fail(f'"{self.name(key)}" is an empty list', key)
        return value if isinstance(value, list) else [value]

    def _distinct(self, key: str, values: list[Any]) -> None:
        if len(set(values)) != len(values):
            self.fail(f'"{self.name(key)}" names a value twice', key)

    def _fail_type(self, key: str, expected: str, value: Any) -> NoReturn:
        got = "a mapping" if isinstance(value, Section) else _shown(value)
        self.fail(f'"{self.name(key)}" must be {expected}, got {got}', key)


def _float(value: Any) -> float | None:
    """A finite number; None for anything else."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < float("inf") else None


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"a list of {how_many(len(value), 'value')}"
    if isinstance(value, int) and abs(value) > 10**40:
        return "a number of very many digits"
    return repr(value)[:80]


def plain(value: Any) -> Any:
    """A value of a section as an ordinary Python value."""
    if isinstance(value, Section):
        return value.plain()
    return [plain(v) for v in value] if isinstance(value, list) else value
