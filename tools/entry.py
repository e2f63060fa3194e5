"""The entry point of `dragon`: loads the command line, and says so where that is interrupted."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and end the process with its exit status."""
    try:
        from dragon.tools.main import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("dragon: interrupted\n")
        sys.exit(130)
