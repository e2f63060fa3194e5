"""The ranks of a training: what they send each other, over MPI."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dragon.counting import how_many
from dragon.errors import UsageError
from dragon.parallel.mpi import mpi_module
from dragon.parallel.sums import Groups, Messages, add_groups, sum_flat, sum_in_groups
from dragon.parallel.wire import Wire

__all__ = ["RANK_NAMES", "WAYS", "AloneError", "Ranks", "started_count", "started_ranks"]

T = TypeVar("T")
# how many processes were started together, by MPICH and Intel MPI, Open MPI, and Slurm with its own PMI
_COUNTS = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "PMIX_SIZE", "SLURM_STEP_NUM_TASKS")
WAYS = ("auto", "nccl", "machine", "flat")  # NCCL on GPUs; MPI as Ranks.add_up_by says; auto: what is best
PER_MACHINE = "DRAGON_RANKS_PER_MACHINE"
_PURPOSE = "to train on several ranks"
RANK_NAMES = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID")  # the rank, by the same ones
_SHORT = 1 << 14  # bytes of a vector that each rank adds up by itself: one message less to wait for
_SPIN = 1e-4  # seconds that a rank looks without a pause whether the others are there
_PAUSE, _LONGEST = 0.05, 2e-3  # then with pauses: a part of the seconds that it has waited, and at most so many


_ALONE = "batch normalisation over the rows of all ranks needs all ranks"
_INSTEAD = "use another net there, such as one of phase TEST"


class AloneError(UsageError):
    """Some ranks run a net that needs all of them. All ranks whose sums were made without the others raise it."""


class Ranks:
    """The rank of this process among `size`. All ranks have to call the same methods in the same order.

    waited: seconds that this rank has waited for others, or for what they send. groups: of ranks that are added up
    first; one for all, until `add_up_by` says otherwise. stepping: this rank computes what all of them compute at the
    same time. alone: what runs now on this rank and not on others, such as an observer; "" for nothing. on_gpu: adds up
    a vector on the GPU over the ranks; None: it goes through the host.
    """

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self.rank = int(comm.Get_rank())
        self.size = int(comm.Get_size())
        self.waited = 0.0
        self.groups: Groups = [range(self.size)]
        self.stepping = False
        self.alone = ""
        self.on_gpu: Callable[[Any], None] | None = None
        self._messages = Messages(comm, self.rank)

    @property
    def leads(self) -> bool:
        """Whether this is rank 0, which tests, logs and writes files."""
        return self.rank == 0

    def twin(self) -> Ranks | None:
        """The same ranks for calls of another thread; None where the MPI library takes calls of one thread only."""
        mpi = mpi_module(_PURPOSE)
        if mpi.Query_thread() != mpi.THREAD_MULTIPLE:
            return None
        other = Ranks(self._comm.Dup())
        other.groups = self.groups
        return other

    def agree(self, value: T) -> T:
        """Rank 0's value, which can be pickled, on all ranks."""
        self.wait()
        agreed: T = self._comm.bcast(value, root=0)
        return agreed

    def agree_all(self, value: T) -> list[T]:
        """The values of all ranks, on all of them."""
        self.wait()
        values: list[T] = self._comm.allgather(value)
        return values

    def wait(self) -> None:
        """Wait for all ranks."""
        self._finish(self._comm.Ibarrier())

    def gather(self, values: NDArray[Any]) -> NDArray[Any]:
        """The vectors of all ranks, one row for each, on all ranks."""
        got = np.empty((self.size, values.size), values.dtype)
        self._finish(self._comm.Iallgather(np.ascontiguousarray(values), got))
        return got

    def total(self, values: Any) -> None:
        """Put into `values`, a contiguous vector on the host or a GPU, its sum over the ranks, made as in `mean`.

        For layers, which may call it at any time. Raises AloneError where not all ranks run the net at the same time:
        a rank would wait for ever, or add up what does not belong together.
        """
        if self.alone:
            raise AloneError(f"{_ALONE}: {self.alone} runs the train net on rank {self.rank} alone; {_INSTEAD}")
        if not isinstance(values, np.ndarray):
            if self.on_gpu is not None:
                self.on_gpu(values)
                return
            host = values.get()
            self.total(host)
            values.set(host)
            return
        marked = np.append(values, float(self.stepping))
        self._reduce(marked, None, mean=False)
        if 0 < marked[-1] < self.size:
            raise AloneError(f"{_ALONE}: a callback or a script runs the train net on some ranks alone; {_INSTEAD}")
        values[...] = marked[:-1]

    def mean(self, values: NDArray[Any], wire: Wire | None = None) -> None:
        """Put into `values`, a contiguous vector, its mean over the ranks.

        It is added up in the order of the groups and of the ranks in each, so it is the same on all ranks and in each
        run, whatever the MPI library: see sums.py. Of a short vector each rank adds up all. wire: the form in which
        float32 values are sent.
        """
        self._reduce(values, wire, mean=True)

    def _reduce(self, values: NDArray[Any], wire: Wire | None, mean: bool) -> None:
        if self.size == 1:
            return
        divisor = self.size if mean else 1
        if wire is None and values.nbytes <= _SHORT:
            add_groups(self.gather(values), self.groups, values, divisor)
            return
        self.wait()  # what follows is quick when all are there
        waited = self._messages.waited
        if len(self.groups) == 1:
            sum_flat(self._messages, values, self.groups[0], divisor, wire)
        else:
            sum_in_groups(self._messages, values, self.groups, divisor, wire)
        self.waited += self._messages.waited - waited

    @property
    def headroom(self) -> int:
        """Bits by which what is sent in the form of a wire may be larger than one rank's values."""
        return 0 if len(self.groups) == 1 else (max(map(len, self.groups)) - 1).bit_length()

    def _finish(self, request: Any) -> None:
        """Wait until a request of MPI is done, at last in pauses.

        MPI's own functions that wait try without a pause, on a core that the rank waited for may need.
        """
        began = time.perf_counter()
        while not request.Test():
            waited = time.perf_counter() - began
            if waited > _SPIN:
                time.sleep(min(_PAUSE * waited, _LONGEST))
        self.waited += time.perf_counter() - began

    # -- machines -------------------------------------------------------------------------------------------
    def here(self, cores: frozenset[int] = frozenset()) -> tuple[int, int, int]:
        """The place of this rank among those of its machine, from 0, how many these are, and how many share its cores.

        cores: the numbers of those that this rank may use; srun and Open MPI's mpirun give each rank its own. Empty
        where that is not known: then all share them.
        """
        with self._of_machine() as here:
            others = here.allgather(cores)
            sharing = sum(not cores or not other or bool(cores & other) for other in others)
            return int(here.Get_rank()), int(here.Get_size()), sharing

    @contextmanager
    def _of_machine(self) -> Iterator[Any]:
        """The communicator of the ranks of this machine."""
        self.wait()
        here = self._comm.Split_type(mpi_module(_PURPOSE).COMM_TYPE_SHARED)
        try:
            yield here
        finally:
            here.Free()

    def machines(self, environment: Mapping[str, str] = os.environ) -> list[list[int]]:
        """The ranks of each machine; with DRAGON_RANKS_PER_MACHINE set to N, N ranks after another count as one.

        Raises UsageError for a number that is none.
        """
        given = self.agree(environment.get(PER_MACHINE, ""))  # of rank 0: on some ranks alone they would wait for ever
        if given and not (given.isdecimal() and int(given)):
            raise UsageError(f"{PER_MACHINE} must be a number of ranks, at least 1, got {given!r}")
        if given:
            first = self.rank // int(given)
        else:
            with self._of_machine() as here:
                first = int(here.bcast(self.rank, root=0))
        found: dict[int, list[int]] = {}
        for rank, machine in enumerate(self.agree_all(first)):
            found.setdefault(machine, []).append(rank)
        return list(found.values())

    def add_up_by(self, way: str) -> None:
        """How sums are made: "flat", "machine" (those of each machine first) or else; all ranks have to call this.

        Else: by machine where there are several, each with several ranks. Raises UsageError for "machine" where there
        is one.
        """
        if self.size == 1:
            return
        machines = [] if way == "flat" else self.machines()
        if way == "machine" and len(machines) == 1:
            raise UsageError(f"all {how_many(self.size, 'rank')} are on one machine: sums by machine need several")
        several = len(machines) > 1 and (way == "machine" or min(map(len, machines)) > 1)
        self.groups = machines if several else [range(self.size)]

    def abort(self) -> None:
        """End all ranks at once, with exit status 2."""
        self._comm.Abort(2)


def started_count(environment: Mapping[str, str] = os.environ) -> int:
    """How many processes mpirun or srun has started together with this one; 0: this one was started alone."""
    counts = [environment[name] for name in _COUNTS if name in environment]
    return max((int(count) for count in counts if count.isdecimal()), default=0)


def started_ranks(environment: Mapping[str, str] = os.environ) -> Ranks | None:
    """The ranks that mpirun or srun has started; None for a process that was started alone.

    Raises UsageError without mpi4py or an MPI library.
    """
    count = started_count(environment)
    if count < 2:
        return None
    comm = mpi_module(_PURPOSE).COMM_WORLD
    if comm.Get_size() == 1:
        raise UsageError(
            f"{how_many(count, 'process')} were started, but MPI sees one: start them by the mpirun of the MPI "
            "library that mpi4py loads, or by srun with an --mpi that it speaks (`srun --mpi=list`)"
        )
    return Ranks(comm)
