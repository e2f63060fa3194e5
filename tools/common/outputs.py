"""Checks that the outputs of a command can be written, and do not overwrite its inputs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from dragon.errors import UsageError
from dragon.files.atomic import check_writable
from dragon.files.folders import check_folder
from dragon.files.reading import was_read

__all__ = ["OutputFile", "OutputFolder", "check_outputs", "refuse_input"]


class OutputFile(click.Path):
    """The type of an option that names a file to write: where that is not possible, the command ends before it starts.

    stream: whether "-" is standard output. Raises OSError.
    """

    def __init__(self, stream: bool = False) -> None:
        super().__init__(dir_okay=False, allow_dash=stream)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path, which can be written to."""
        path = super().convert(value, param, ctx)
        if not (self.allow_dash and path == "-"):
            check_writable(os.fsdecode(path))
        return path


class OutputFolder(click.Path):
    """The same for a folder, which the command makes where it is missing."""

    def __init__(self) -> None:
        super().__init__(file_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path, where files can be written."""
        path = super().convert(value, param, ctx)
        check_folder(Path(os.fsdecode(path)), os.fsdecode(path), made=True)
        return path


def check_outputs(inputs: Iterable[str | None], outputs: Mapping[str, str | None], in_new_folder: bool = False) -> None:
    """Raise UsageError if an output (path by flag) is an input, or is also the output of another flag.

    Raises OSError where it cannot be written. in_new_folder: whether the command makes the folder.
    """
    taken = {Path(path).resolve(): f"{path} is an input" for path in inputs if path}
    for flag, path in outputs.items():
        if not path:
            continue
        place = Path(path).resolve()
        if place in taken:
            raise UsageError(f"{flag} {path}: {taken[place]}, and would be overwritten: choose another name")
        taken[place] = f"{flag} names it too"
        check_writable(path, in_new_folder)


def refuse_input(path: str) -> None:
    """Raise UsageError if the command has read the file that it is about to replace, under this name or another."""
    if was_read(path):
        raise UsageError(f"{path} is a file that is read as well, and would be overwritten: choose another name")
