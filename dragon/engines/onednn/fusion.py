"""Which layers run together: chains whose inner values nobody else reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dragon.engines.onednn.lowerings import Lowering
    from dragon.net import Net

__all__ = ["find_groups"]


def find_groups(net: Net, training: bool) -> Iterator[tuple[int, int, Lowering | None]]:
    """First and last layer of each group in order, with the lowering of a fused one."""
    for i in range(len(net.layers)):
        yield i, i, None
