"""A progress bar on stderr, if that is a terminal; it disappears when the work is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import click

from dragon.data.progress import Progress

if TYPE_CHECKING:
    from rich.progress import TaskID

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(lines: bool = False) -> Iterator[Progress]:
    """Show a progress bar in the block; gives the callback (stage, done, total or None) for long functions.

    lines: without a terminal, print a line for each finished stage.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bars = Bars(*columns, console=console, transient=True, disable=not console.is_terminal)
    with bars if console.is_terminal else nullcontext():  # before 14.3 disabled ones end with a blank line
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)
            if lines and bars.disable and done == total:
                click.echo(f"{stage}: {done:,}", err=True)

        yield report
