"""The paths of a solver's snapshots, and those of the coming run that exist already."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dragon.errors import WeightsError
from dragon.files.reading import was_read
from dragon.proto import dragon_pb2 as pb

if TYPE_CHECKING:
    from dragon.solver.solver import Solver

__all__ = ["check_snapshots", "existing_targets", "snapshot_base", "snapshot_names"]


def snapshot_base(solver: Solver) -> str:
    """The beginning that the paths of all snapshots of a run share, up to the iteration."""
    p = solver.param
    prefix = p.snapshot_prefix or (str(Path(solver.path).with_suffix("")) if solver.path else "snapshot")
    if p.snapshot_prefix and Path(prefix).is_dir():
        prefix = str(Path(prefix) / (Path(solver.path).stem if solver.path else "snapshot"))
    return f"{prefix}_iter_"


def snapshot_names(solver: Solver) -> tuple[str, str]:
    """Paths of the model and of the state for the present iteration."""
    ending = ".h5" if solver.param.snapshot_format == pb.SolverParameter.HDF5 else ""
    base = f"{snapshot_base(solver)}{solver.iter}"
    return f"{base}.caffemodel{ending}", f"{base}.solverstate{ending}"


def check_snapshots(solver: Solver) -> None:
    """Raise WeightsError when a snapshot of the coming run would overwrite a file that this process has read."""
    for path, iteration in existing_targets(solver):
        if was_read(path):
            raise WeightsError(
                f"{path} is read, and the snapshot at iteration {iteration} would overwrite it: "
                "choose another snapshot_prefix"
            )


def existing_targets(solver: Solver) -> Iterator[tuple[str, int]]:
    """Paths that exist already of snapshots that the coming run will write, and their iterations."""
    for name in snapshot_names(solver):
        before, _, ending = name.rpartition(f"_iter_{solver.iter}")
        for path in glob.glob(f"{glob.escape(before)}_iter_*{ending}"):
            iteration = path.removeprefix(f"{before}_iter_").removesuffix(ending)
            if iteration.isdecimal() and _is_due(solver.param, solver.iter, int(iteration)):
                yield path, int(iteration)


def _is_due(p: pb.SolverParameter, now: int, iteration: int) -> bool:
    """Whether the run from iteration `now` to its end makes a snapshot at `iteration`."""
    last = p.snapshot_after_train and iteration == p.max_iter
    return now < iteration <= p.max_iter and (last or bool(p.snapshot and iteration % p.snapshot == 0))
