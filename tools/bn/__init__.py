"""`dragon bn`: the commands that change, check and show the batch normalisation of a net."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import click

from dragon.tools.common.lazy_group import LazyGroup

__all__ = ["command"]

_OWN = ("insert", "remove", "show")  # the others are commands of `dragon` too


class _Commands(LazyGroup):
    texts: ClassVar[Mapping[str, str]] = {
        "insert": "Put normalisations behind convolutions or other layers, net and weights.",
        "remove": "Take batch normalisation out of a net; with weights it is folded.",
        "merge": "Turn BatchNorm + Scale into BN, net and weights.",
        "split": "Turn BN into BatchNorm + Scale, net and weights.",
        "fold": "Fold batch normalisation into convolutions, for deployment.",
        "recalibrate": "Give batch normalisation exact statistics of the training set.",
        "lint": "Look for mistakes around batch normalisation.",
        "show": "Show statistics, scale and shift of every batch normalisation, and dead channels.",
    }

    def module(self, name: str) -> str:
        return f"dragon.tools.bn.{name}" if name in _OWN else f"dragon.tools.{name}"


@click.group("bn", cls=_Commands)
def command() -> None:
    """Change, check and show the batch normalisation of a net.

    Every change is run on data before it is written. Of the prototxt only what changes is written anew: comments,
    order and numbers stay. `dragon merge` and so on are short names of the same commands.
    """
