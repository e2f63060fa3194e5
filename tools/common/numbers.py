"""Types of flags that take whole numbers, with the ranges of the fields that the numbers go to."""

from __future__ import annotations

from typing import Any

import click

__all__ = ["INT32", "Count", "Seed"]

_MOST = 2**31 - 1

INT32 = click.IntRange(-(2**31), _MOST)


class Count(click.IntRange):
    """A number from `least` to what an int32 holds, which a help text need not say."""

    most = _MOST

    def __init__(self, least: int) -> None:
        super().__init__(least)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number: int = super().convert(value, param, ctx)
        if number > self.most:
            self.fail(f"{number} is too large, the most is {self.most}", param, ctx)
        return number


class Seed(Count):
    """A number from 0 to what an int64 holds."""

    most = 2**63 - 1

    def __init__(self) -> None:
        super().__init__(0)
