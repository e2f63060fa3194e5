"""A program for mpiexec, two ranks: what the stand-in for NCCL refuses, and what a capture of it does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from tests.engines.cuda.conftest import emulation
from tests.engines.cuda.emulation import nccl, standin
from tests.engines.cuda.emulation.nccl import NcclError

SUM, FLOAT32, FLOAT16 = 0, 7, 6


def main() -> None:
    rank = MPI.COMM_WORLD.Get_rank()
    running = emulation(pytest.MonkeyPatch(), 2)
    next(running)
    module: Any = nccl.make()
    device = standin.Device
    name = MPI.COMM_WORLD.bcast(module.get_unique_id())
    assert len(name) == 128
    with pytest.raises(NcclError, match="Duplicate GPU"):
        module.NcclCommunicator(2, name, rank)
    with pytest.raises(NcclError, match="INVALID_ARGUMENT"):
        module.NcclCommunicator(2, name[:5], rank)
    with device(rank):
        communicator = module.NcclCommunicator(2, name, rank)
    stream = standin.Stream(non_blocking=True)
    array = standin.asarray(np.full(8, rank + 1, np.float32))
    at = array.data.ptr

    # memory
    host = np.ones(8, np.float32)
    for pointer, count, kind in ((host.ctypes.data, 8, FLOAT32), (at, 9, FLOAT32), (at + 4, 8, FLOAT32)):
        with pytest.raises(MemoryError, match="not inside an array of the device"):
            communicator.allReduce(pointer, pointer, count, kind, SUM, stream.ptr)
    for kind, operation in ((99, SUM), (FLOAT32, 99)):
        with pytest.raises(NcclError, match="INVALID_ARGUMENT"):
            communicator.allReduce(at, at, 8, kind, operation, stream.ptr)
    with pytest.raises(TypeError):
        communicator.allReduce(array, array, 8, FLOAT32, SUM, stream.ptr)
    with pytest.raises(KeyError):
        communicator.allReduce(at, at, 8, FLOAT32, SUM, 12345)
    with pytest.raises(NcclError, match="INVALID_USAGE"):
        module.groupEnd()

    # ranks that do not agree
    with pytest.raises(AssertionError, match="wait for ever"):
        communicator.allReduce(at, at, 8 - rank, FLOAT32, SUM, stream.ptr)
    with pytest.raises(AssertionError, match="wait for ever"):
        communicator.allReduce(at, at, 4, FLOAT16 if rank else FLOAT32, SUM, stream.ptr)

    # a capture records calls, which run when the graph is launched, and takes no new communicator
    stream.begin_capture()
    with stream:
        with pytest.raises(NcclError, match="capturing"):
            module.NcclCommunicator(2, name, rank)
        communicator.allReduce(at, at, 8, FLOAT32, SUM, stream.ptr)
    graph = stream.end_capture()
    assert (array.get() == rank + 1).all()
    graph.launch(stream)
    assert (array.get() == 3).all()
    module.groupStart()
    communicator.broadcast(at, at, 8, FLOAT32, 0, stream.ptr)
    communicator.allReduce(at, at, 8, FLOAT32, SUM, stream.ptr)
    assert (array.get() == 3).all()
    module.groupEnd()
    assert (array.get() == 6).all()
    print("all refused", flush=True)


if __name__ == "__main__":
    main()
