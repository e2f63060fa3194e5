"""`dragon zoo`: the nets that come with Dragon, and their weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import click

from dragon.tools.common.lazy_group import LazyGroup

__all__ = ["command"]


class _Commands(LazyGroup):
    texts: ClassVar[Mapping[str, str]] = {
        "train": "Train the weights that Dragon offers for a net, again.",
    }

    def module(self, name: str) -> str:
        return f"dragon.tools.zoo.{name}"


@click.group("zoo", cls=_Commands)
def command() -> None:
    """Use the nets that come with Dragon, and weights for them."""
