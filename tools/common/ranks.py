"""The ranks of a `dragon train` that mpirun or srun has started, and how they end together."""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dragon.counting import how_many
from dragon.errors import DragonError, NumericError, UsageError
from dragon.parallel.ranks import AloneError, Ranks, started_ranks
from dragon.tools.common.engine_options import EngineChoice, named_gpus
from dragon.tools.common.logs import log
from dragon.tools.common.streams import wait_for_readers

if TYPE_CHECKING:
    from dragon.solver.solver import Solver

__all__ = ["share_machine", "training_ranks", "write_timeline"]

_COMMON = (NumericError, AloneError, KeyboardInterrupt)  # what all ranks raise together
_LEAD = 60.0  # seconds that rank 0 has to say why all ranks end, before another one does
_READ = 5.0  # seconds that mpirun has to read it


@contextmanager
def training_ranks() -> Iterator[Ranks | None]:
    """The ranks of this training, None for one process; an exception in the block ends all ranks.

    Ranks but 0 log errors only.
    """
    ranks = started_ranks()
    if ranks is None:
        yield None
        return
    if not ranks.leads:
        logging.getLogger("dragon").setLevel(logging.ERROR)
    try:
        yield ranks
    except BaseException as error:
        atexit.register(_end, ranks)  # runs once the error has been printed
        if ranks.leads:
            raise
        if isinstance(error, _COMMON):  # rank 0 says it and ends them
            time.sleep(_LEAD)
        if isinstance(error, DragonError):
            raise DragonError(f"rank {ranks.rank} of {ranks.size}: {error}") from error
        raise


def write_timeline(solver: Solver, path: str | None) -> None:
    """Write the timeline of a training, if one was asked for; all ranks have to call this."""
    if path is not None and solver.exchange is not None:
        solver.exchange.write_timeline(Path(path))
        if solver.leads:
            log.info("Timeline: %s", path)


def _end(ranks: Ranks) -> None:
    """End all ranks when mpirun has read what this one has written."""
    wait_for_readers(_READ)
    ranks.abort()


def share_machine(choice: EngineChoice, ranks: Ranks) -> EngineChoice:
    """The choice of this rank: one of the GPUs of --gpu 0,1,... or all, and its part of the cores of its machine.

    Raises UsageError where a machine has more ranks than GPUs are named.
    """
    cores = frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()
    place, count, sharing = ranks.here(cores)
    if choice.gpu is not None and (len(gpus := named_gpus(choice.gpu)) > 1 or choice.gpu == "all"):
        if count > len(gpus):
            raise UsageError(f"--gpu {choice.gpu} names {len(gpus)} GPUs for {how_many(count, 'rank')} on a machine")
        choice = replace(choice, gpu=str(gpus[place]))
    if choice.threads is None and not os.environ.get("OMP_NUM_THREADS"):
        from dragon.engines.onednn.library.threads import usable_cores

        usable = usable_cores()
        # fewer than the mask allows: a quota of the container, which is that of all its ranks
        choice = replace(choice, threads=max(1, usable // (sharing if usable == len(cores) else count)))
    return choice
