"""The series of an experiment's runs as TensorBoard's event files, a folder for each run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dragon.compare.plan import Run
from dragon.files.events import EventFile

__all__ = ["write_events"]

_LONGEST = 80  # characters of a folder's name, of up to three bytes each


def write_events(runs: Sequence[Run], records: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Write the records of finished runs, by id, below `folder`; files of an earlier call are replaced.

    Raises UsageError without tensorboardX, OSError.
    """
    names: dict[str, int] = {}
    for run in runs:
        name = re.sub(r"[^\w.+-]+", "_", run.title)[:_LONGEST]
        names[name] = number = names.get(name, 0) + 1
        where = folder / (name if number == 1 else f"{name}_{number}")
        for old in where.glob("events.out.tfevents.*"):
            old.unlink()
        file = EventFile(where)
        for name, (iterations, values) in records[run.id]["series"].items():
            for iteration, value in zip(iterations, values, strict=True):
                if value is not None:
                    file.scalar(name, value, int(iteration))
        file.close()
