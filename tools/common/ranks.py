"""The ranks of a `dragon train` that mpirun or srun has started, and how they end together."""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dragon.engines.base import Options
from dragon.errors import DragonError, NumericError
from dragon.parallel.ranks import Ranks, started_ranks

__all__ = ["share_cores", "training_ranks"]

_LEAD = 3.0  # seconds that rank 0 has to say why all ranks end


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
        atexit.register(ranks.abort)  # runs once the error has been printed
        if ranks.leads:
            raise
        if isinstance(error, (NumericError, KeyboardInterrupt)):  # the same on all ranks
            time.sleep(_LEAD)
            raise SystemExit(2) from None
        if isinstance(error, DragonError):
            raise DragonError(f"rank {ranks.rank} of {ranks.size}: {error}") from error
        raise


def share_cores(options: Options, ranks: Ranks) -> None:
    """Without a number of threads, give each rank its part of the cores of its machine."""
    if options.threads is None and not os.environ.get("OMP_NUM_THREADS"):
        from dragon.engines.onednn.library.threads import usable_cores

        options.threads = max(1, usable_cores() // ranks.local())
