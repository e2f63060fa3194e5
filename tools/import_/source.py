"""A form of file that `dragon import` reads: the option that names the file, its other options, and what reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import click

__all__ = ["OUT_WEIGHTS", "Source"]

# an option that several sources take is one object
OUT_WEIGHTS = click.Option(
    ["--out-weights", "--caffemodel"], metavar="FILE", help="Write the .caffemodel, HDF5 or .safetensors file here."
)


@dataclass(frozen=True)
class Source:
    """A form of file.

    flag: the option that chooses it and names the file. options: what else it takes. read: called with the path and the
    values of `options` by name; it writes what it has made.
    """

    flag: click.Option
    options: tuple[click.Option, ...]
    read: Callable[..., None]
