"""The handler of the log of `dragon train` where no progress bar is shown."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime

import click

from dragon.solver.glog import GlogFormatter
from dragon.tools.common.logs import StreamHandler

__all__ = ["GlogHandler"]


class GlogHandler(StreamHandler):
    """Lines in glog's form, and before the first one the line that tells readers the year, which the lines do not.

    An error before the first line stands alone.
    """

    def __init__(self, err: bool) -> None:
        super().__init__(err)
        self.setFormatter(GlogFormatter())
        self._begun = False

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):  # a full disk or a closed pipe must not end the training
            if not self._begun:
                self._begun = True
                click.echo(f"Log file created at: {datetime.now():%Y/%m/%d %H:%M:%S}", err=self.err)
            super().emit(record)
