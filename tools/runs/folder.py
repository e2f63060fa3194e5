"""Folders of runs: runs/NAME/1, 2, ..., each made for one run and never used for another.

A folder holds the solver and the nets as the run used them, run.json, train.log, metrics.jsonl, curves.png and the
snapshots, whose names begin with NAME.
"""

from __future__ import annotations

import os
from pathlib import Path

from dragon.errors import UsageError, nearest
from dragon.files.atomic import write_atomically
from dragon.files.folders import make_folder
from dragon.files.reading import read_bytes
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import format_text
from dragon.solver.definition import find_model
from dragon.solver.solver import Solver

__all__ = [
    "LOG",
    "RECORD",
    "ROOT",
    "SOLVER",
    "find_run",
    "is_run",
    "latest_run",
    "new_run",
    "run_name",
    "write_definition",
]

ROOT = Path("runs")
RECORD = "run.json"
SOLVER = "solver.prototxt"
LOG = "train.log"
_HEAD = "# The solver of this run, with its flags and its seed.\n"


def run_name(solver: str | Path) -> str:
    """The name of the runs of a solver's file: its stem, or that of its folder if the file is called solver."""
    path = Path(solver)
    return path.resolve().parent.name or path.stem if path.stem == "solver" else path.stem


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run."""
    return (folder / RECORD).is_file() and (folder / SOLVER).is_file()


def new_run(base: Path) -> Path:
    """Make the folder of a new run, with the next number, in `base`. Raises OSError."""
    make_folder(base)
    number = max(_numbers(base), default=0) + 1
    while True:
        folder = base / str(number)
        try:
            folder.mkdir()
        except FileExistsError:  # another run has made it since
            number += 1
        else:
            return folder


def latest_run(base: Path) -> Path | None:
    """The run with the highest number in `base`; None without one."""
    return next((base / str(k) for k in sorted(_numbers(base), reverse=True) if is_run(base / str(k))), None)


def find_run(text: str) -> Path:
    """The folder of a run, or the newest one of a folder of runs. Raises UsageError, with the nearest name."""
    given = Path(text)
    found = given if is_run(given) else latest_run(given)
    if found is None:
        known = [path.parent.as_posix() for path in ROOT.glob(f"*/*/{RECORD}")]
        known += sorted({Path(run).parent.as_posix() for run in known})
        error = UsageError(f"{text}: not the folder of a run{nearest(given.as_posix(), known)}, such as runs/lenet/1")
        if given.is_file():
            error.hint = "one snapshot is named by --snapshot"
        elif any(given.glob("*.solverstate*")):
            error.hint = "its snapshots have the prefix of a solver: --solver FILE --resume"
        raise error
    return found


def _numbers(base: Path) -> list[int]:
    try:
        names = os.listdir(base)
    except OSError:
        return []
    return [int(name) for name in names if name.isascii() and name.isdecimal() and len(name) < 10 and name[0] != "0"]


def write_definition(folder: Path, solver: Solver) -> None:
    """Write solver.prototxt and the nets that it names into the folder of a run. Raises OSError.

    The solver has the run's seed; the nets are copies of their files.
    """
    p = pb.SolverParameter()
    p.CopyFrom(solver.param)
    p.random_seed = solver.seed
    tests: list[str | pb.NetParameter] = [*p.test_net_param, *p.test_net]
    for field in ("net", "train_net"):
        for source in (field, f"{field}_param"):
            if p.HasField(source):
                copy = _write_net(folder / f"{field}.prototxt", getattr(p, source), solver)
                p.ClearField(source)
                setattr(p, field, copy)
    copies = [_write_net(folder / f"test_net_{k}.prototxt", net, solver) for k, net in enumerate(tests)]
    del p.test_net_param[:]
    del p.test_net[:]
    p.test_net.extend(copies)
    write_atomically(folder / SOLVER, (_HEAD + format_text(p)).encode())


def _write_net(path: Path, net: str | pb.NetParameter, solver: Solver) -> str:
    """Write a net, as it is used, to `path`, and return that as it stands in a prototxt."""
    if isinstance(net, str) and not solver.nets.changed:
        source = find_model(net, solver.definition)
        if source.resolve() != path.resolve():
            write_atomically(path, read_bytes(source))
    else:
        write_atomically(path, format_text(solver.nets.source(net).message).encode())
    return path.as_posix()
