"""The flag --probe, of train and probe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from dragon.probes import Probe, check_titles, parse

__all__ = ["probe_option"]


def _probes(context: click.Context, param: click.Parameter, texts: Sequence[str]) -> list[Probe]:
    probes = [parse(text) for text in texts]
    check_titles(probes)
    return probes


def probe_option(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: add the flag, and hand what is given to the command as `probes`, a list. text: the help."""
    return click.option("--probe", "probes", callback=_probes, multiple=True, metavar="NAME[:KEY=VALUE,...]", help=text)
