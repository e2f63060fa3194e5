"""Tables of the commands: as wide as the terminal, and as wide as they need to be in a pipe or a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dragon.columns import columns, terminal_width

__all__ = ["table"]


def table(head: Sequence[str], rows: Iterable[Sequence[object]], left: Iterable[int] = (0,)) -> str:
    """Aligned columns below a head with a rule; columns in `left` are text, aligned left, the others figures."""
    return columns(head, rows, left, terminal_width())
