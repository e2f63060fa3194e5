"""The experiments that ship with Dragon, found by name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from dragon import models
from dragon.errors import UsageError, nearest
from dragon.files.kinds import EXPERIMENT
from dragon.files.reading import read_text
from dragon.files.yaml_tree import read_yaml

__all__ = ["Listed", "find_experiment", "list_experiments"]

_FOLDER = "experiments"
_ENDING = ".yaml"


@dataclass(frozen=True)
class Listed:
    """An experiment in the list. time: what its file says it takes, or how long it took in `compare/NAME`."""

    name: str
    file: Path
    claim: str
    time: str


def list_experiments(results: str | Path = "compare") -> list[Listed]:
    """The experiments that ship, in the order of their names. results: the folder with results of earlier runs."""
    return [_listed(name, file, Path(results) / name) for name, file in sorted(_shipped().items())]


def find_experiment(name: str | Path) -> Path:
    """The file of an experiment: a path, or a name of the list. Raises UsageError for neither."""
    path = Path(name)
    shipped = _shipped()
    if path.is_file() or path.suffix or len(path.parts) > 1:
        return path
    if str(name) not in shipped:
        raise UsageError(f'no experiment "{name}"{nearest(str(name), shipped)}; `dragon compare --list` shows them')
    return shipped[str(name)]


def _shipped() -> dict[str, Path]:
    folders = [Path(place) / _FOLDER for place in models.__path__]
    return {file.stem: file for folder in folders for file in folder.glob(f"*{_ENDING}")}


def _listed(name: str, file: Path, results: Path) -> Listed:
    top, _ = read_yaml(file, EXPERIMENT)
    claim = " ".join((top.text("claim") or top.text("name") or "").split())
    here = _took(results) or _took(results.with_name(f"{name}_quick"))
    return Listed(name, file, claim, here or top.text("time") or "")


def _took(results: Path) -> str:
    """How long the newest run took here; empty if it is not known."""
    try:
        about = json.loads(read_text(results / "results.json"))["about"]
        minutes, size = float(about["seconds"]) / 60, " (quick)" if about["quick"] else ""
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    return f"took {minutes:.0f} min here{size}" if minutes >= 1 else f"took {60 * minutes:.0f} s here{size}"
