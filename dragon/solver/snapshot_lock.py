"""A lock on the paths of a run's snapshots, so that no other run writes them, and a check that they can be written."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from dragon.errors import UsageError, WeightsError
from dragon.files.atomic import remove_unfinished
from dragon.files.folders import make_folder
from dragon.files.lock import LockedError, locked
from dragon.files.paths import reason
from dragon.solver.snapshot_names import existing_targets, snapshot_base, snapshot_names

if TYPE_CHECKING:
    from dragon.solver.solver import Solver

__all__ = ["SnapshotLock"]

_log = logging.getLogger("dragon")


class SnapshotLock:
    """The lock on the names of a solver's snapshots, which keeps other runs from writing them."""

    def __init__(self) -> None:
        self._training = False

    @contextmanager
    def training(self, solver: Solver) -> Iterator[None]:
        """Hold the lock while a solver trains, if it writes snapshots; a context manager.

        Removes half-written snapshots of these names that killed runs left. Raises WeightsError when the folder cannot
        be written to, when names are too long, and when a folder or device has the name of a snapshot that is due;
        UsageError when another run holds the lock. Does nothing for a solver that writes no snapshots itself.
        """
        with _for_training(solver) if solver.leads else nullcontext():
            self._training = True
            try:
                yield
            finally:
                self._training = False

    def writing(self, solver: Solver) -> AbstractContextManager[None]:
        """Hold the lock while one snapshot is written; a context manager. UsageError if another run holds it."""
        return nullcontext() if self._training else _names_locked(solver)


@contextmanager
def _for_training(solver: Solver) -> Iterator[None]:
    """Hold the lock if the solver writes snapshots, with the checks and the tidying of `SnapshotLock.training`."""
    p = solver.param
    if not (p.snapshot or p.snapshot_after_train):
        yield
        return
    base = Path(snapshot_base(solver))
    try:
        make_folder(base.parent)
        # a name as long as of any unfinished snapshot, and one of those that the next start removes after a kill
        ending = snapshot_names(solver)[1].removeprefix(f"{snapshot_base(solver)}{solver.iter}")
        handle, probe = tempfile.mkstemp(prefix=f".{base.name}{p.max_iter}{ending}.", dir=base.parent)
        os.close(handle)
        Path(probe).unlink(missing_ok=True)
    except OSError as error:
        raise WeightsError(f"snapshots cannot be written to {base.parent}: {reason(error)}") from None
    for path, _ in existing_targets(solver):
        if not Path(path).is_file():
            raise WeightsError(f"snapshots cannot be written: {path} is not a regular file")
    with _names_locked(solver):
        _remove_leftovers(base)
        yield


@contextmanager
def _names_locked(solver: Solver) -> Iterator[None]:
    """Hold the lock on the names of a solver's snapshots; a context manager. UsageError if another run holds it."""
    base = Path(snapshot_base(solver))
    with ExitStack() as stack:
        try:
            make_folder(base.parent)
            stack.enter_context(locked(base.parent / f".{base.name}lock"))
        except LockedError as error:
            by = f" by process {error.owner}" if error.owner else ""
            raise UsageError(
                f"snapshots {base}* are being written{by}: wait for its end or choose another snapshot_prefix"
            ) from None
        except OSError:
            pass  # writing the snapshot says why
        yield


def _remove_leftovers(base: Path) -> None:
    """Remove the temporary files of snapshots that were never finished."""
    for path in remove_unfinished(base.parent, rf"{re.escape(base.name)}\d+\.(caffemodel|solverstate)(\.h5)?"):
        _log.warning("removed %s, which a killed run left half-written", path)
