"""The host's time for a replayed training step on a GPU, measured without one.

    python -m benchmarks.gpu_host --net cifar10_quick_bn_merged --net resnet50

The emulation stands in for CuPy, and nothing that is launched runs. So this is the engine's own work, without CUDA's
calls: the launch of a graph (1.4 us of the host on an H200), one copy of the values that the host sets, its event.
Needs g++.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Sequence

import pytest

from benchmarks.cpu_nets import inputs, net_for
from dragon.bases.layer import TRAIN
from dragon.engines.cuda.plan.iteration import IterationLoss
from dragon.proto import dragon_pb2 as pb
from dragon.solver.solver import Solver
from tests.engines.cuda.conftest import emulation
from tests.engines.cuda.emulation import memory, streams

__all__ = ["main", "microseconds"]

WARM_UP = 4  # steps; the third one is captured


def microseconds(name: str, batch: int = 1, steps: int = 100) -> float:
    """The least time of the host's work for one replayed step of a net of the zoo."""
    net = net_for(name, batch, TRAIN)
    param = pb.SolverParameter(net_param=net, base_lr=0.01, lr_policy="fixed", momentum=0.9, weight_decay=0.001)
    with pytest.MonkeyPatch.context() as patch, contextlib.contextmanager(emulation)(patch):
        patch.setattr(streams.Stream, "drain", lambda self, until=None: self._queue.clear())
        patch.setattr(streams.Graph, "launch", lambda self, stream=None: None)
        patch.setattr(IterationLoss, "wait", lambda self: 1.0)
        solver = Solver(param, engine="cuda")
        images, labels = inputs(name, solver.net.blobs["data"].shape)
        solver.net.blobs["data"].data[...] = images
        solver.net.blobs["label"].data[...] = labels
        executor, times = solver.net.executor, []
        solver.step(WARM_UP)
        patch.setattr(memory.Pointer, "copy_from_host_async", lambda *_: None)
        patch.setattr(streams.Event, "record", lambda *_: None)
        patch.setattr(streams.Event, "synchronize", lambda *_: None)
        for number in range(WARM_UP, WARM_UP + steps):
            begin = time.perf_counter()
            loss = executor.whole_step(solver.updater, 0.01, number)
            times.append(time.perf_counter() - begin)
            assert loss is not None
        assert "whole iteration: graph" in executor.remarks(), executor.remarks()
    return min(times) * 1e6


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each net."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--net", action="append", help="of the zoo (default: cifar10_quick_bn_merged, resnet50)")
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args(arguments)
    for name in options.net or ["cifar10_quick_bn_merged", "resnet50"]:
        print(f"{name}: {microseconds(name, steps=options.steps):.0f} us of the host for a step")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
