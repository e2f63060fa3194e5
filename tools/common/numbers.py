"""Types of numeric flags, integers with the ranges of the message fields that they set, and shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import click

from dragon.errors import UsageError

__all__ = ["INT32", "Count", "Real", "Seed", "input_shape", "named_shapes", "sizes"]

_INT32_MAX, _INT64_MAX = 2**31 - 1, 2**63 - 1

INT32 = click.IntRange(-(2**31), _INT32_MAX)


class Count(click.IntRange):
    """An integer from `least` to the maximum of an int32, which the help text does not show."""

    most = _INT32_MAX

    def __init__(self, least: int) -> None:
        super().__init__(least)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number: int = super().convert(value, param, ctx)
        if number > self.most:
            self.fail(f"{number} is too large, the most is {self.most}", param, ctx)
        return number


class Seed(Count):
    """An integer from 0 to the maximum of an int64."""

    most = _INT64_MAX

    def __init__(self) -> None:
        super().__init__(0)


class Real(click.FloatRange):
    """A number that is neither NaN, which passes through any range, nor infinite; the ends are left out."""

    def __init__(self, above: float | None = None, below: float | None = None) -> None:
        super().__init__(above, below, min_open=above is not None, max_open=below is not None)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is no finite number", param, ctx)
        return number


def sizes(text: str) -> tuple[int, ...]:
    """Numbers from 1 to the maximum of an int64, separated by commas; () for any other text."""
    try:
        found = tuple(int(v) for v in text.split(","))
    except ValueError:
        return ()
    return found if 0 < min(found) <= max(found) <= _INT64_MAX else ()


def input_shape(text: str | None, flag: str = "--shape", least: int = 1) -> tuple[int, ...] | None:
    """The value of --shape, or of another flag; None where it is not given. Raises UsageError.

    least: axes that it has at least.
    """
    if text is None:
        return None
    shape = sizes(text)
    if len(shape) < least:
        raise UsageError(f'{flag} takes numbers like 1,3,32,32, got "{text}"')
    return shape


def named_shapes(texts: Sequence[str], flag: str = "--input-shape") -> dict[str, tuple[int, ...]]:
    """Shapes by name of a flag that may be repeated; "" for a shape without a name. Raises UsageError."""
    found: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, _, dims = text.rpartition(":")
        shape = sizes(dims)
        if not shape:
            raise UsageError(f'{flag} takes shapes like 1,3,224,224 or NAME:1,3,224,224, got "{text}"')
        if name in found:
            raise UsageError(f'{flag} gives the shape of "{name}" twice' if name else f"{flag} is given twice")
        found[name] = shape
    return found
