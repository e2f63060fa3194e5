"""Finds the newest whole snapshot of a run, and goes on from it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from dragon.errors import UsageError, WeightsError
from dragon.files.reading import remember_reads
from dragon.solver.snapshot_names import snapshot_base
from dragon.solver.solver import Solver
from dragon.tools.common.logs import log

__all__ = ["restore_newest", "snapshots_of"]

_STATE = re.compile(r"(\d+)\.solverstate(\.h5)?")


def snapshots_of(base: Path) -> list[tuple[int, Path]]:
    """Iteration and state of the snapshots whose paths begin with `base`, in order of their iterations."""
    found = []
    for path in base.parent.glob("*.solverstate*"):
        match = _STATE.fullmatch(path.name.removeprefix(base.name))
        if match is not None and path.name.startswith(base.name) and len(match[1]) < 20:
            found.append((int(match[1]), path))
    return sorted(found)


def restore_newest(solver: Solver, by_time: bool, among: Collection[str] = ()) -> str:
    """Restore the newest snapshot of a solver that is whole; its path. Warns of each that is not.

    by_time: the newest one is that which was written last, not that with the highest iteration. among: paths of the
    only ones that count; empty: all count. Raises UsageError without a snapshot, WeightsError where all are damaged or
    of another net.
    """
    base = Path(snapshot_base(solver))
    found = snapshots_of(base)
    if among:
        counted = {Path(path).absolute() for path in among}
        found = [(iteration, path) for iteration, path in found if path.absolute() in counted]
    if by_time:
        found = [(iteration, path) for _, iteration, path in sorted(_by_time(found))]
    if not found:
        raise UsageError(f"no snapshot to go on from: there is no {base}*.solverstate")
    for _, path in reversed(found):
        try:
            with remember_reads(False):  # one that is skipped may be written again
                solver.restore(path)
        except WeightsError as error:
            log.warning("snapshot skipped: %s", error)
        else:
            return str(path)
    raise WeightsError(f"no snapshot {base}*.solverstate is whole and of this net")


def _by_time(found: list[tuple[int, Path]]) -> Iterator[tuple[int, int, Path]]:
    for iteration, path in found:
        try:
            yield path.stat().st_mtime_ns, iteration, path
        except OSError:  # removed meanwhile
            continue
