"""A form of file that `dragon export` writes: the option that names the file, its other options, and what writes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import click

from dragon.export.deployed import Deployed, read_deployed
from dragon.surgery.model import Model, read_model
from dragon.tools.common.net_options import NetChoice

__all__ = ["NO_FOLD_BN", "Source", "Target"]

# an option that several targets take is one object
NO_FOLD_BN = click.Option(
    ["--no-fold-bn"], is_flag=True, help="Keep batch normalisations; they are folded into the layers before them."
)


@dataclass(frozen=True)
class Source:
    """The net to write: values of the flags that all targets have. shape: of the input, None for the net's own."""

    which: NetChoice
    weights: str | None
    shape: tuple[int, ...] | None

    def model(self, as_written: bool = False) -> Model:
        """The net as it is read, with the weights where they are given. Raises DragonError.

        as_written: layers of a dialect stay as they are, with their blobs.
        """
        which = self.which
        return read_model(which.model, self.weights, which.profile, which.assignments, as_written=as_written)

    def deployed(self) -> Deployed:
        """The net without what only training and testing need. Raises DragonError."""
        return read_deployed(
            self.which.definition(), level=self.which.level, stages=self.which.stages, shape=self.shape
        )


@dataclass(frozen=True)
class Target:
    """A form of file.

    flag: the option that chooses it and names the file. options: what else it takes. write: called with the Source, the
    path and the values of `options` by name.
    """

    flag: click.Option
    options: tuple[click.Option, ...]
    write: Callable[..., None]
