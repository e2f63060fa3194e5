"""NCCL through CuPy: adds up arrays on the GPUs of all ranks, each of which has one for itself."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.engines.cuda.device.precision import BFLOAT16, FLOAT16
from dragon.errors import first_line
from dragon.extras import install_command
from dragon.parallel.ranks import Ranks

if TYPE_CHECKING:
    from dragon.engines.cuda.device.gpu import Gpu

__all__ = ["Nccl", "NcclMissingError", "open_nccl"]

LEAST = 21000  # NCCL 2.10, the first one with bf16
# NVLink SHARP adds up in the switches of some machines, in an order that differs from call to call
_NVLS = "NCCL_NVLS_ENABLE"
_TYPES = {
    np.dtype(np.float32): "NCCL_FLOAT32", np.dtype(np.float64): "NCCL_FLOAT64", FLOAT16: "NCCL_FLOAT16",
    BFLOAT16: "NCCL_BFLOAT16",
}  # fmt: skip


class NcclMissingError(Exception):
    """NCCL cannot be used; the text says why."""


class Nccl:
    """A communicator of NCCL with one GPU for each rank. One thread at a time calls it, on all ranks in the same order.

    Calls return at once: the work is added to a stream, and CUDA graphs can capture it.
    """

    def __init__(self, module: Any, communicator: Any, gpu: Gpu, size: int) -> None:
        self._module = module
        self._communicator = communicator
        self.gpu = gpu
        self.size = size

    @property
    def version(self) -> str:
        """Of the library, such as 2.27.3."""
        number = int(self._module.get_version())
        return f"{number // 10000}.{number // 100 % 100}.{number % 100}"

    @contextmanager
    def _group(self) -> Iterator[None]:
        """Within the block calls are collected; at its end they run as one."""
        self._module.groupStart()
        try:
            yield
        finally:
            self._module.groupEnd()

    def add_up(self, arrays: Sequence[Any], stream: Any) -> None:
        """Put into each contiguous array its sum over the ranks."""
        self._all_reduce(arrays, self._module.NCCL_SUM, stream)

    def largest(self, arrays: Sequence[Any], stream: Any) -> None:
        """Put into each contiguous array its largest elements over the ranks."""
        self._all_reduce(arrays, self._module.NCCL_MAX, stream)

    def _all_reduce(self, arrays: Sequence[Any], operation: int, stream: Any) -> None:
        with self._group():
            for array in arrays:
                at, kind = array.data.ptr, getattr(self._module, _TYPES[array.dtype])
                self._communicator.allReduce(at, at, array.size, kind, operation, stream.ptr)

    def give(self, arrays: Sequence[Any], stream: Any) -> None:
        """Put into each contiguous array that of rank 0."""
        with self._group():
            for array in arrays:
                at, kind = array.data.ptr, getattr(self._module, _TYPES[array.dtype])
                self._communicator.broadcast(at, at, array.size, kind, 0, stream.ptr)


def open_nccl(ranks: Ranks, gpu: Gpu | None) -> Nccl:
    """A communicator of all ranks, which have to call this. gpu: that of this rank, None for another engine.

    MPI carries the communicator's id, and why a rank cannot take part. Raises NcclMissingError, on all ranks the same.
    """
    module, problem = _module(gpu)
    _first(ranks, problem)
    assert gpu is not None
    machine = next(k for k, members in enumerate(ranks.machines({})) if ranks.rank in members)
    cards = ranks.agree_all((machine, _card(gpu)))
    for rank, card in enumerate(cards):
        if card in cards[:rank]:
            raise NcclMissingError(f"ranks {cards.index(card)} and {rank} share a GPU, which NCCL does not allow")
    os.environ.setdefault(_NVLS, "0")
    name, problem = _tried(module.get_unique_id) if ranks.leads else (None, "")
    _first(ranks, problem)
    name = ranks.agree(name)
    with gpu.active():
        communicator, problem = _tried(lambda: module.NcclCommunicator(ranks.size, name, ranks.rank))
    _first(ranks, problem)
    return Nccl(module, communicator, gpu, ranks.size)


def _module(gpu: Gpu | None) -> tuple[Any, str]:
    """CuPy's module for NCCL, and why it cannot be used."""
    if gpu is None:
        return None, "the CUDA engine does not run on all ranks"
    cuda = int(gpu.cupy.cuda.runtime.runtimeGetVersion()) // 1000
    install = install_command(f"nccl{cuda}")
    try:
        module = importlib.import_module("cupy.cuda.nccl")
    except Exception as error:  # of the package, or of the library behind it
        return None, f"CuPy cannot load NCCL ({first_line(error)}): {install}"
    if not getattr(module, "available", False):
        return None, f"CuPy cannot load NCCL: {install}"
    version, problem = _tried(module.get_version)
    if not problem and version < LEAST:
        problem = f"NCCL is older than 2.10: {install}"
    return module, problem


def _tried(call: Any) -> tuple[Any, str]:
    """What a call returns, and what it raises."""
    try:
        return call(), ""
    except Exception as error:  # NcclError, and what CUDA raises behind it
        return None, f"NCCL: {first_line(error)}"


def _card(gpu: Gpu) -> str:
    """The name of a GPU on its machine."""
    return str(gpu.cupy.cuda.runtime.deviceGetPCIBusId(gpu.number))


def _first(ranks: Ranks, problem: str) -> None:
    """Raise NcclMissingError on all ranks if one of them has a problem."""
    problems = ranks.agree_all(problem)
    for rank, found in enumerate(problems):
        if found:
            where = "" if all(problems) else f" (rank {rank})"
            raise NcclMissingError(f"{found}{where}")
