"""Display of a comparison's progress: live bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

from dragon.counting import how_many

__all__ = ["Display", "LiveDisplay", "PlainDisplay", "make_display"]

Message = dict[str, Any]


class Display(Protocol):
    """Shows the progress of jobs; a context manager."""

    def __enter__(self) -> Display: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def say(self, text: str) -> None:
        """Show lines of text."""

    def message(self, name: str, total: int, message: Message) -> None:
        """Show a message of the job `name`, which has `total` iterations; 0: it has none."""


def _scores(message: Message) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in message["test"].items())


class PlainDisplay:
    """A line for the beginning and the end of each job, and for each test."""

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        self.write = write or (lambda line: print(line, flush=True))
        self.begun: dict[str, float] = {}

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def say(self, text: str) -> None:
        """Write lines of text."""
        self.write(text)

    def message(self, name: str, total: int, message: Message) -> None:
        """Write a line for the start, a test or the end of the job `name`."""
        if "start" in message:
            self.begun[name] = time.perf_counter()
            self.write(f"{name}: started" + (f", {how_many(total, 'iteration')}" if total else ""))
        elif "test" in message:
            self.write(f"{name}: iteration {message['iter']}, {message['statistics']} statistics: {_scores(message)}")
        elif "done" in message:
            self.write(f"{name}: done in {time.perf_counter() - self.begun[name]:.0f} s")


class LiveDisplay:
    """A bar for every running job; the text of `say` scrolls by above."""

    def __init__(self, console: Any = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.bars = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[count]}"),
            TextColumn("{task.fields[news]}"), TimeRemainingColumn(), console=console or Console(),
        )  # fmt: skip
        self.tasks: dict[str, Any] = {}
        self.news: dict[str, dict[str, str]] = {}

    def __enter__(self) -> LiveDisplay:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def say(self, text: str) -> None:
        """Print lines of text above the bars."""
        self.bars.console.print(text, highlight=False, markup=False)

    def message(self, name: str, total: int, message: Message) -> None:
        """Update the bar of the job `name`, which has `total` iterations; 0: it has none."""
        from rich.markup import escape

        if "start" in message:
            self.tasks[name] = self.bars.add_task(escape(name), total=total or None, news="", count="")
            self.news[name] = {}
            return
        task, news = self.tasks[name], self.news[name]
        if "done" in message:
            self.bars.remove_task(task)
            tested = f": {news['test']}" if "test" in news else ""
            self.bars.console.print(f"[green]done[/] {escape(name)}{tested}", highlight=False)
            return
        if "loss" in message:
            news["loss"] = f"loss {message['loss']:.3f}"
        if "test" in message and message["statistics"] == "global":
            news["test"] = _scores(message)
        if "iter" in message:
            self.bars.update(
                task,
                completed=message["iter"],
                news="  ".join(news.values()),
                count=f"{message['iter']}/{total}" if total else "",
            )


def make_display() -> Display:
    """The display for standard output: live on a terminal, else plain."""
    return LiveDisplay() if sys.stdout.isatty() else PlainDisplay()
