"""Definition: a net or solver together with the file, lines and folder that it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, Self, TypeVar

from google.protobuf.message import Message

from dragon.errors import Position

__all__ = ["Definition"]

_M = TypeVar("_M", bound=Message)


@dataclass(frozen=True)
class Definition(Generic[_M]):
    """A message in the present form and its place.

    file: the path that it was read from, as given. lines: of a net, the line on which each layer begins; 0 for a layer
    that was made from the net's inputs. folder: the folder in which files that the message names are looked for after
    the working directory (see dragon.files.paths). fields: of a solver, the line on which each field is given. A
    message that was made in memory has none of these.
    """

    message: _M
    file: str | None = None
    lines: tuple[int, ...] = ()
    folder: Path | None = None
    fields: Mapping[str, int] = field(default_factory=dict)

    @property
    def start(self) -> Position | None:
        """The file as a position; None without one."""
        return None if self.file is None else Position(self.file)

    def position_of(self, field: str) -> Position | None:
        """File and line of a solver's field, or only the file where it is not in there; None without a file."""
        return None if self.file is None else Position(self.file, self.fields.get(field, 0))

    def without_lines(self, fields: Iterable[str]) -> Self:
        """The definition where these fields are no longer those of the file."""
        changed = set(fields)
        return replace(self, fields={name: line for name, line in self.fields.items() if name not in changed})

    def position(self, layer: int) -> Position | None:
        """File and line of a layer, or only the file when its line is not known; None without a file."""
        if self.file is None:
            return None
        return Position(self.file, self.lines[layer] if 0 <= layer < len(self.lines) else 0)
