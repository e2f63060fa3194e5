"""A permission that the process has or has not: granted in the library, taken away by commands for a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Permission"]


class Permission:
    """Whether something is allowed at present. Call it to change that for a block: ``with permission(False): ...``."""

    def __init__(self) -> None:
        self.granted = True

    @contextmanager
    def __call__(self, granted: bool) -> Iterator[None]:
        """Grant or deny it until the block ends."""
        before, self.granted = self.granted, granted
        try:
            yield
        finally:
            self.granted = before
