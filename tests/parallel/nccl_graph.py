"""A program: a sum by NCCL between two kernels in one CUDA graph, on one GPU; with DRAGON_TEST_GPU=1 on a real one."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from mpi4py import MPI

from dragon.engines.cuda.device.capture import captured
from dragon.engines.cuda.device.gpu import open_gpu
from dragon.parallel.nccl import open_nccl
from dragon.parallel.ranks import Ranks
from tests.engines.cuda.conftest import ON_A_GPU, emulation
from tests.engines.cuda.emulation import nccl as stand_in


def main() -> None:
    running = emulation(pytest.MonkeyPatch())
    next(running)
    if not ON_A_GPU:
        sys.modules["cupy.cuda.nccl"] = stand_in.make()
    gpu = open_gpu(0)
    nccl = open_nccl(Ranks(MPI.COMM_WORLD), gpu)
    with gpu.active():
        x, y = gpu.zeros(1000, np.float32), gpu.zeros(1000, np.float32)

        def work() -> None:
            x.__iadd__(np.float32(1))
            nccl.add_up([x], gpu.stream)
            y.__iadd__(x)

        work()
        gpu.stream.synchronize()
        graph = captured(gpu, work)
        assert (x.get() == 1).all()
        for _ in range(3):
            graph.launch(gpu.stream)
        assert (x.get() == 4).all()
        assert (y.get() == 1 + 2 + 3 + 4).all()
    print("replayed", nccl.version)


if __name__ == "__main__":
    main()
