"""Handlers of the log, and its format in commands: plain lines on stderr."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import click

from dragon.errors import one_line

__all__ = ["StreamHandler", "log", "log_handler", "plain_logging", "warnings_once"]

log = logging.getLogger("dragon")


class StreamHandler(logging.Handler):
    """Writes to the current sys.stdout or sys.stderr, not to that at the time of import."""

    yields_to_init_log = True  # a script's caffe.init_log replaces it

    def __init__(self, err: bool = True) -> None:
        super().__init__()
        self.err = err

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(self.format(record), err=self.err)


class PlainFormatter(logging.Formatter):
    """`dragon: warning: text`, without a label for information."""

    def format(self, record: logging.LogRecord) -> str:
        label = f"{record.levelname.lower()}: " if record.levelno > logging.INFO else ""
        return f"dragon: {label}{one_line(record.getMessage())}"


@contextmanager
def log_handler(handler: logging.Handler, level: int) -> Iterator[None]:
    """Send the library's log to this handler only, in the block."""
    before = log.handlers[:], log.level
    log.handlers[:] = [handler]
    log.setLevel(level)
    try:
        yield
    finally:
        log.handlers[:], level = before[0], before[1]
        log.setLevel(level)


@contextmanager
def plain_logging(debug: bool = False) -> Iterator[None]:
    """Log warnings, or with `debug` everything, as plain lines on stderr in the block."""
    handler = StreamHandler()
    handler.setFormatter(PlainFormatter())
    with log_handler(handler, logging.DEBUG if debug else logging.WARNING):
        yield


@contextmanager
def warnings_once() -> Iterator[None]:
    """Let the library's log say nothing twice in the block, in which one net is built several times."""
    said: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if message in said:
            return False
        said.add(message)
        return True

    log.addFilter(is_new)
    try:
        yield
    finally:
        log.removeFilter(is_new)
