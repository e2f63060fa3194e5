"""The entry point of `dragon`: loads the command line, and says so where that is interrupted."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

__all__ = ["main"]

_INTERRUPTED = 130
_LINE = "dragon: interrupted\n"


def main() -> None:
    """Run the command line and end the process with its exit status."""
    _on_interrupt(_end)  # at once: an exception in the middle of an import may become another one, or be lost
    try:
        from dragon.tools.main import main as run

        _on_interrupt(signal.default_int_handler)
        run()
    except KeyboardInterrupt:
        _on_interrupt(_end_silently)
        sys.stderr.write(_LINE)
        sys.exit(_INTERRUPTED)
    except SystemExit as end:  # from here on Python ends, and would show a traceback of its own
        _on_interrupt(_end_silently if end.code == _INTERRUPTED else _end)
        raise


def _end(number: int, frame: object) -> None:
    os.write(2, _LINE.encode())
    _end_silently(number, frame)


def _end_silently(number: int, frame: object) -> None:
    os._exit(_INTERRUPTED)


def _on_interrupt(handler: Any) -> None:
    """Have SIGINT handled, unless it is ignored, as in the background, or the caller has a handler."""
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _end):
        signal.signal(signal.SIGINT, handler)
