"""`dragon zoo`: the nets that come with Dragon, and their weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import click

from dragon.tools.common.lazy_group import LazyGroup

__all__ = ["command"]


class _Commands(LazyGroup):
    texts: ClassVar[Mapping[str, str]] = {
        "list": "List the nets, with their sizes, accuracies and where weights are.",
        "show": "Show what a net is, its weights, and commands that use it.",
        "run": "Run a net, on images or on noise.",
        "download": "Fetch the weights of nets, and keep them.",
        "verify": "Check the weights that are here: checksums, and whether they fit their nets.",
        "train": "Train the weights that Dragon offers for a net, again.",
    }

    def module(self, name: str) -> str:
        return f"dragon.tools.zoo.{name}"


@click.group("zoo", cls=_Commands)
def command() -> None:
    """Use the nets that come with Dragon, and weights for them.

    The name of a net also stands for its files in other commands: `dragon summarize --model lenet`, `dragon train
    --solver lenet`, `dragon classify --model NAME cat.jpg`.
    """
