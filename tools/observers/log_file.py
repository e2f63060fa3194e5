"""The log of a run as a file, train.log, in the form that Caffe's logs have."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from dragon.solver.glog import GlogFormatter
from dragon.tools.common.logs import log

__all__ = ["logged_to"]


class _FileHandler(logging.Handler):
    """Appends lines to a file; a line that cannot be written ends that, with a warning."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.setFormatter(GlogFormatter())
        self._path = path
        self._file = path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
        self._failed = False
        self._write(f"Log file created at: {datetime.now():%Y/%m/%d %H:%M:%S}")

    def emit(self, record: logging.LogRecord) -> None:
        self._write(self.format(record))

    def _write(self, line: str) -> None:
        if self._failed:
            return
        try:
            self._file.write(f"{line}\n")
        except OSError as error:
            self._failed = True
            log.warning("%s cannot be written (%s); training goes on", self._path, error.strerror or error)

    def close(self) -> None:
        super().close()
        with suppress(OSError):  # the last lines were not written, as was said
            self._file.close()


@contextmanager
def logged_to(path: Path) -> Iterator[logging.Logger]:
    """Append the library's log to a file in the block; gives a logger whose lines go to that file alone.

    Raises OSError if the file cannot be opened.
    """
    handler = _FileHandler(path)
    own = logging.Logger("dragon.run", logging.INFO)
    own.addHandler(handler)
    log.addHandler(handler)
    try:
        yield own
    finally:
        log.removeHandler(handler)
        own.removeHandler(handler)
        handler.close()
