"""A stand-in for `cupy.cuda.nccl`, whose processes are ranks of MPI.

It refuses what NCCL refuses, and what NCCL answers by waiting for ever or by wrong sums: pointers that lie in no array
of the device, counts that differ among ranks or run out of the array, types that it does not have, calls in another
order on another rank, two ranks on one device, communicators that are made in a capture. A sum of 16 bits is rounded at
each rank that it passes, and the ranks are passed from the last to the first: no order that anybody else uses.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.engines.cuda.emulation import memory, sixteen, standin
from tests.engines.cuda.emulation.streams import Stream, capturing, counts, use

__all__ = ["NcclError", "make"]

INVALID_ARGUMENT, INVALID_USAGE = 4, 5
NAMES = {INVALID_ARGUMENT: "NCCL_ERROR_INVALID_ARGUMENT", INVALID_USAGE: "NCCL_ERROR_INVALID_USAGE"}
CONSTANTS = {
    "NCCL_SUM": 0, "NCCL_PROD": 1, "NCCL_MAX": 2, "NCCL_MIN": 3, "NCCL_AVG": 4, "NCCL_FLOAT16": 6, "NCCL_FLOAT32": 7,
    "NCCL_FLOAT64": 8, "NCCL_BFLOAT16": 9,
}  # fmt: skip
TYPES: dict[int, Any] = {6: np.float16, 7: np.float32, 8: np.float64, 9: np.uint16}
REDUCTIONS: dict[int, Any] = {0: np.add, 2: np.maximum}
ID_BYTES = 128
_depth = 0  # of groups
_waiting: list[Callable[[], None]] = []  # calls of the present group


class NcclError(RuntimeError):
    def __init__(self, status: int, detail: str) -> None:
        self.status = status
        super().__init__(f"{NAMES[status]}: {detail}")


def get_unique_id() -> tuple[int, ...]:
    raw = hashlib.sha512(os.urandom(16)).digest() * 2
    return tuple(np.frombuffer(raw, np.int8).tolist())


def group_start() -> None:
    global _depth
    _depth += 1


def group_end() -> None:
    global _depth
    if not _depth:
        raise NcclError(INVALID_USAGE, "invalid usage (ncclGroupEnd without ncclGroupStart)")
    _depth -= 1
    if not _depth:
        calls = _waiting[:]
        _waiting.clear()
        counts["groups of NCCL"] += 1
        for call in calls:
            call()


class NcclCommunicator:
    """ndev ranks, which all make one with the same id at the same time."""

    def __init__(self, ndev: int, commId: tuple[int, ...], rank: int) -> None:
        from mpi4py import MPI

        if capturing() is not None:
            raise NcclError(INVALID_USAGE, "unhandled cuda error: operation not permitted when stream is capturing")
        if not isinstance(commId, tuple) or len(commId) != ID_BYTES or not 0 <= rank < ndev:
            raise NcclError(INVALID_ARGUMENT, "invalid argument")
        self._comm = MPI.COMM_WORLD.Dup()
        facts = self._comm.allgather((ndev, commId, rank, standin.Device.current[-1]))
        if len(facts) != ndev or {fact[:2] for fact in facts} != {(ndev, commId)}:
            raise AssertionError("ranks that make different communicators wait for ever")
        if [fact[2] for fact in facts] != [*range(ndev)]:
            raise AssertionError("the stand-in has NCCL's ranks in the order of MPI's")
        cards = [fact[3] for fact in facts]
        if len(set(cards)) < ndev:
            raise NcclError(INVALID_USAGE, "invalid usage (Duplicate GPU detected)")
        self.size = ndev

    def allReduce(self, sendbuf: int, recvbuf: int, count: int, datatype: int, op: int, stream: int) -> None:
        if op not in REDUCTIONS:
            raise NcclError(INVALID_ARGUMENT, "invalid argument (a reduction that the stand-in does not have)")
        source, target = (self._array(at, count, datatype, stream) for at in (sendbuf, recvbuf))
        self._add("allReduce", (count, datatype, op), stream, lambda: self._reduce(source(), target(), datatype, op))

    def broadcast(self, sendbuff: int, recvbuff: int, count: int, datatype: int, root: int, stream: int) -> None:
        if not 0 <= root < self.size:
            raise NcclError(INVALID_ARGUMENT, "invalid argument (root)")
        source, target = (self._array(at, count, datatype, stream) for at in (sendbuff, recvbuff))
        self._add(
            "broadcast", (count, datatype, root), stream,
            lambda: np.copyto(target(), self._comm.bcast(source(), root=root)),
        )  # fmt: skip

    def _reduce(self, source: Any, target: Any, datatype: int, op: int) -> None:
        rows = self._comm.allgather(source.copy())
        whole = sixteen.wide(rows[-1], np.float32) if source.itemsize == 2 else rows[-1]
        for row in rows[-2::-1]:
            if source.itemsize == 2:
                sixteen.put(target, REDUCTIONS[op](whole, sixteen.wide(row, np.float32)))
                whole = sixteen.wide(target, np.float32)
            else:
                whole = REDUCTIONS[op](whole, row)
        if source.itemsize == 2:
            sixteen.put(target, whole)
        else:
            np.copyto(target, whole)

    def _array(self, address: int, count: int, datatype: int, ptr: int) -> Callable[[], Any]:
        """What gives the memory of a call when it runs; it must lie inside an array of the device now and then.

        No other stream than the call's may still work on it.
        """
        if type(address) is not int or type(count) is not int:
            raise TypeError("an integer is required")
        if datatype not in TYPES:
            raise NcclError(INVALID_ARGUMENT, f"invalid argument (type {datatype})")
        if count <= 0:
            raise AssertionError("a call without elements")
        size = count * np.dtype(TYPES[datatype]).itemsize

        def owner() -> Any:
            found = memory.owner_at(address, address + size)
            if found is None:
                raise MemoryError(f"NCCL: {count} elements at {address:#x} are not inside an array of the device")
            return found

        def array() -> Any:
            owner()
            return np.frombuffer((ctypes.c_char * size).from_address(address), TYPES[datatype])

        use(Stream.at(ptr), [(address, address + size, owner())])
        return array

    def _add(self, name: str, what: tuple[int, ...], ptr: int, action: Callable[[], None]) -> None:
        stream = Stream.at(ptr)

        def run() -> None:
            asked = self._comm.allgather((name, *what))
            if len(set(asked)) > 1:
                raise AssertionError(f"ranks that call NCCL differently wait for ever: {asked}")
            counts[f"NCCL's {name}"] += 1
            action()

        if _depth:
            _waiting.append(lambda: stream.add(run))
        else:
            stream.add(run)


def make() -> types.ModuleType:
    """The module to put into sys.modules."""
    module = types.ModuleType("cupy.cuda.nccl")
    for name, value in {
        **CONSTANTS, "available": True, "NcclError": NcclError, "NcclCommunicator": NcclCommunicator,
        "get_unique_id": get_unique_id, "get_version": lambda: 22703, "groupStart": group_start, "groupEnd": group_end,
    }.items():  # fmt: skip
        setattr(module, name, value)
    return module
