"""Check that the outputs of a command can be written, and do not overwrite its inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from dragon.errors import UsageError
from dragon.files.atomic import check_writable
from dragon.files.reading import was_read

__all__ = ["check_outputs", "refuse_input"]


def check_outputs(inputs: Iterable[str | None], outputs: Mapping[str, str | None], in_new_folder: bool = False) -> None:
    """Raise UsageError if an output (path by flag) is an input, or is also the output of another flag.

    Raises OSError where it cannot be written, unless the command makes the folder.
    """
    taken = {Path(path).resolve(): f"{path} is an input" for path in inputs if path}
    for flag, path in outputs.items():
        if not path:
            continue
        place = Path(path).resolve()
        if place in taken:
            raise UsageError(f"{flag} {path}: {taken[place]}, and would be overwritten: choose another name")
        taken[place] = f"{flag} names it too"
        if not in_new_folder:
            check_writable(path)


def refuse_input(path: str) -> None:
    """Raise UsageError if the command has read the file that it is about to replace, under this name or another."""
    if was_read(path):
        raise UsageError(f"{path} is a file that is read as well, and would be overwritten: choose another name")
