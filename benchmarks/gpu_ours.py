"""Worker of the GPU benchmarks: Dragon's CUDA engine. A process holds one solver for each candidate."""

from __future__ import annotations

import importlib
import re
import time
from typing import Any, cast

from benchmarks import gpu_kernels
from benchmarks._harness import serve
from benchmarks.cpu_nets import SOLVER, inputs, net_for
from benchmarks.gpu_worker import Clock, Timer

__all__ = ["main"]

WARM = 4  # steps until the graph of an iteration is replayed

_timer = Timer()
_solvers: dict[str, Any] = {}


def facts() -> dict[str, Any]:
    """The GPU and the versions of what drives it."""
    cupy = importlib.import_module("cupy")
    return {"gpu": cupy.cuda.runtime.getDeviceProperties(0)["name"].decode(), "cupy": cupy.__version__}


def make(
    candidate: str, net: str, batch: int, precision: str, tf32: bool = False, size: int | None = None
) -> dict[str, Any]:
    """A candidate whose step is one iteration of a solver.

    Returns the first step's loss, seconds of the set-up, MiB of the GPU's memory, remarks, and how each layer runs.
    """
    from dragon.bases.layer import TRAIN
    from dragon.engines import Options
    from dragon.proto import dragon_pb2 as pb
    from dragon.solver.types import get_solver

    begin = time.perf_counter()
    param = pb.SolverParameter(net_param=net_for(net, batch, TRAIN, size), **SOLVER)
    solver = get_solver(param, engine="cuda", options=Options(tf32=tf32, precision=precision), seed=1)
    blobs, executor = solver.net.blobs, cast("Any", solver.net.executor)
    images, labels = inputs(net, blobs["data"].shape)
    blobs["data"].data[...] = images
    blobs["label"].data[...] = labels
    solver.step(1)
    loss = float(blobs["loss"].peek().item())
    solver.step(WARM - 1)
    clock = _clock(executor.gpu)
    clock.wait()
    _solvers[candidate] = solver
    _timer.add(candidate, lambda: solver.step(1), clock)
    remarks = executor.remarks()
    return {
        "loss": loss, "seconds": time.perf_counter() - begin, "peak_mib": _peak(remarks), "remarks": remarks,
        "layers": dict(zip(solver.net.layer_names, executor.describe(), strict=True)),
    }  # fmt: skip


def _clock(gpu: Any) -> Clock:
    cuda = gpu.cupy.cuda

    def event() -> Any:
        made = cuda.Event()
        made.record(gpu.stream)
        return made

    def between(first: Any, last: Any) -> float:
        last.synchronize()
        return float(cuda.get_elapsed_time(first, last))

    return Clock(cuda.runtime.deviceSynchronize, event, between)


def _peak(remarks: list[str]) -> float | None:
    found = [re.match(r"Peak memory of the GPU: ([\d,.]+) MiB", line) for line in remarks]
    return next((float(match[1].replace(",", "")) for match in found if match), None)


def profile(candidate: str, steps: int = 2) -> list[list[Any]]:
    """Microseconds and launches per step of each kernel, longest first, by PyTorch's profiler (CUPTI)."""
    profiler = importlib.import_module("torch.profiler")
    wait = _timer.candidates[candidate][1].wait
    with profiler.profile(activities=[profiler.ProfilerActivity.CUDA]) as run:
        _solvers[candidate].step(steps)
        wait()
    rows = [[e.device_time_total / steps, e.count / steps, e.key] for e in run.key_averages()]
    return sorted((row for row in rows if row[0]), reverse=True)


def main() -> None:
    """Serve requests until standard input ends."""
    serve(
        {
            "facts": facts, "make": make, "time": _timer.time, "profile": profile,
            "copy_bandwidth": gpu_kernels.copy_bandwidth,
            "normalization": gpu_kernels.normalization,
        }
    )  # fmt: skip


if __name__ == "__main__":
    main()
