"""Types of integer flags, with the ranges of the message fields that they set."""

from __future__ import annotations

from typing import Any

import click

__all__ = ["INT32", "Count", "Seed"]

_INT32_MAX = 2**31 - 1

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

    most = 2**63 - 1

    def __init__(self) -> None:
        super().__init__(0)
