"""A worker for the tests of the harness: its candidates do nothing, its handlers fail in the ways that libraries do."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from benchmarks._harness import serve


def make(seconds: float) -> Callable[[], object]:
    return lambda: time.sleep(seconds)


def fail() -> None:
    raise ValueError("two\nlines")


def end() -> None:
    print("the library gave up", file=sys.stderr, flush=True)
    os._exit(3)


def noise() -> str:
    print("noise on standard output", flush=True)
    os.write(1, b"more noise\n")
    return "heard"


if __name__ == "__main__":
    serve({"fail": fail, "end": end, "noise": noise}, make)
