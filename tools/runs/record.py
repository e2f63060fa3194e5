"""run.json: what a run is, on which machine it was trained, and how it ended.

{"name": "lenet", "number": 1, "net": "LeNet", "seed": 7, "data": [labels], "folder": where data are looked for,
"folder_from_run": the same as seen from the run, "sessions": [{"command", "started", "iteration", "versions": {...},
"commit", and at the end "ended", "status", "last_iteration", "seconds", "weights", "best_weights", "best"}, ...]}.
A run that goes on has one more session.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import google.protobuf
import numpy as np

from dragon.compare.machine import machine, usable_cores
from dragon.files.atomic import write_atomically
from dragon.files.reading import read_text
from dragon.graph.facts import data_labels
from dragon.solver.solver import Solver
from dragon.tools.runs.commit import git_commit
from dragon.tools.runs.folder import RECORD
from dragon.version import __version__

__all__ = ["RunRecord", "search_folder"]

Content = dict[str, Any]


class RunRecord:
    """The run.json of a run, with a session for the training that begins.

    command: the command line. Raises OSError.
    """

    def __init__(self, folder: Path, solver: Solver, name: str, command: str) -> None:
        self._path = folder / RECORD
        self._content = _read(self._path)
        place, number = solver.net.context.folder, folder.resolve().name
        self._content |= {
            "name": name,
            "number": int(number) if number.isdecimal() else None,
            "net": solver.net.name,
            "seed": solver.seed,
            "data": data_labels(solver.net),
            "folder": None if place is None else str(place),
            "folder_from_run": None if place is None else _seen_from(place, folder),
        }
        sessions = self._content.setdefault("sessions", [])
        self._session: Content = {
            "command": command,
            "started": _now(),
            "iteration": solver.iter,
            "versions": versions(solver),
            "commit": git_commit(Path.cwd()),
        }
        sessions.append(self._session)
        self._write()

    def end(self, facts: Mapping[str, Any]) -> None:
        """Add how the session ended. Raises OSError."""
        self._session |= {"ended": _now(), **facts}
        self._write()

    def _write(self) -> None:
        write_atomically(self._path, (json.dumps(self._content, indent=1, allow_nan=False) + "\n").encode())


def versions(solver: Solver) -> dict[str, Any]:
    """The software and the machine that a solver runs on."""
    executor = solver.net.executor
    return {
        "dragon": __version__,
        "engine": executor.name,
        "engine_version": _engine_version(executor.name),
        "precision": executor.options.precision,
        "threads": getattr(executor, "threads", None),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "protobuf": google.protobuf.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "machine": machine(usable_cores()),
    }


def _engine_version(engine: str) -> str | None:
    """The version of the library that an engine runs on; None for NumPy, whose version stands by itself."""
    if engine == "onednn":
        from dragon.engines.onednn.library.binding import library

        return ".".join(map(str, library().version))
    return str(sys.modules["cupy"].__version__) if engine == "cuda" and "cupy" in sys.modules else None


def search_folder(run: Path) -> Path | None:
    """The folder in which files that the nets of a run name are looked for; None if it is not there any more."""
    content = _read(run / RECORD)
    for key in ("folder", "folder_from_run"):
        stored = content.get(key)
        if isinstance(stored, str) and os.path.isdir(run / stored):
            return run / stored
    return None


def _read(path: Path) -> Content:
    """The content of a run.json; empty without one, or where it is damaged."""
    try:
        content = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    if not isinstance(content.get("sessions", []), list):
        del content["sessions"]
    return content


def _seen_from(place: Path, folder: Path) -> str | None:
    try:
        return os.path.relpath(place, folder.resolve())
    except ValueError:  # on another drive
        return None


def _now() -> str:
    return datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
