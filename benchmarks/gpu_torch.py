"""Worker of the GPU benchmarks: PyTorch in one precision; eager, compiled, and as CUDA graphs of whole steps.

A process has one precision, since TF32 and cuDNN's choice of algorithms are settings of the process. What cuDNN tried
out for an eager form serves the forms after it.
"""

# mypy: disable-error-code="misc,no-any-return,arg-type,assignment"
# (types of PyTorch are known only where it is installed)

from __future__ import annotations

import contextlib
import gc
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks import cpu_torch
from benchmarks._harness import BenchmarkError, Step, serve
from benchmarks.cpu_nets import SOLVER, describe, net_for
from benchmarks.gpu_worker import Clock, Timer

__all__ = ["facts", "fallbacks", "make"]

WARM = 3  # steps before a capture, as PyTorch's notes on graphs ask for
RECOMPILE_LIMIT = 64

_timer = Timer()


def facts(tf32: bool = False, deterministic: bool = True) -> dict[str, Any]:
    """Set the precision of products and the algorithms that cuDNN may take, for the whole process; versions."""
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    found = {"torch": torch.__version__, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    if torch.cuda.is_available():
        torch.zeros(1, device="cuda")  # makes the context
        found["gpu"] = torch.cuda.get_device_name(0)
    return found


def make(
    candidate: str,
    net: str,
    batch: int,
    arrays: str,
    bf16: bool = False,
    channels_last: bool = False,
    compiled: bool = False,
    graph: bool = False,
    size: int | None = None,
    device: str = "cuda",
    seconds: float | None = None,
) -> dict[str, Any]:
    """A candidate whose step is one iteration; the loss of its first, seconds of the set-up, MiB of its memory.

    arrays: the .npz of weights and inputs. seconds: how long it may take. bf16: by autocast, with float32 weights.
    compiled: without `graph` with CUDA graphs of its own ("reduce-overhead"). graph: the whole step is one CUDA graph.
    Raises BenchmarkError where a part fell back to eager.
    """
    from dragon.bases.layer import TRAIN

    begin = time.perf_counter()
    gpu = device == "cuda"
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT
    _free(gpu)
    before = torch.cuda.memory_allocated() if gpu else 0
    module, images, labels, rates = cpu_torch.build(describe(net_for(net, batch, TRAIN, size)), arrays, join=True)
    assert labels is not None  # TRAIN has a loss
    module, images, labels = module.to(device).train(), images.to(device), labels.to(device)
    if channels_last:
        module, images = module.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    # the plain form is what a user writes first; the tuned forms use the fused optimiser as well
    optimizer = cpu_torch._optimizer(module, rates, SOLVER, fused=channels_last or compiled or graph)

    def compute(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16):
            scores = module(x)
        return F.cross_entropy(scores.float(), labels)

    run: Callable[[torch.Tensor], torch.Tensor] = compute
    if compiled:
        run = torch.compile(
            compute, fullgraph=True, dynamic=False, mode=None if graph or not gpu else "reduce-overhead"
        )
    own_graphs = compiled and gpu and not graph

    def step() -> torch.Tensor:
        if own_graphs:
            torch.compiler.cudagraph_mark_step_begin()
        optimizer.zero_grad(set_to_none=True)
        loss = run(images)
        loss.backward()
        optimizer.step()
        return loss

    with _limit(seconds, "setting it up"):
        loss, replay = _capture(step, optimizer) if graph else _warm(step)
    if compiled:
        found = fallbacks(own_graphs)
        if found:
            raise BenchmarkError(f"fell back to eager: {found}")
    clock = _clock() if gpu else Clock(lambda: None)
    clock.wait()
    peak = (torch.cuda.max_memory_allocated() - before) / 2**20 if gpu else None
    _timer.add(candidate, replay, clock)
    if gpu:
        torch.cuda.empty_cache()
    return {"loss": loss, "seconds": time.perf_counter() - begin, "peak_mib": peak}


def _free(gpu: bool) -> None:
    gc.collect()
    if gpu:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _warm(step: Callable[[], torch.Tensor]) -> tuple[float, Step]:
    losses = [float(step().detach()) for _ in range(WARM)]
    return losses[0], step


def _capture(step: Callable[[], torch.Tensor], optimizer: Any) -> tuple[float, Step]:
    """The step as one graph: static inputs, warmed up on a stream of its own, gradients made by the graph itself."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        loss, _ = _warm(step)
    torch.cuda.current_stream().wait_stream(stream)
    optimizer.zero_grad(set_to_none=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        last = step()
    for _ in range(2):
        graph.replay()
    if not torch.isfinite(last).item():
        raise BenchmarkError("the captured step gives a loss that is not finite")

    def replay() -> object:
        graph.replay()
        return step, last  # the graph reads the memory of what the step holds: images, labels, weights

    return loss, replay


def fallbacks(own_graphs: bool) -> str:
    """What of the compiled step was left to eager, from Dynamo's counters; "" if nothing."""
    counters = torch._dynamo.utils.counters
    found = [f"graph break: {' '.join(reason.split())[:120]}" for reason in counters["graph_break"]]
    if counters["stats"]["unique_graphs"] < 1:
        found.append("nothing was compiled")
    skipped = counters["inductor"]["cudagraph_skips"]
    if own_graphs and skipped:
        found.append(f"{skipped} CUDA graphs were skipped")
    return "; ".join(found)


@contextlib.contextmanager
def _limit(seconds: float | None, what: str) -> Iterator[None]:
    """Raise BenchmarkError in a block that takes longer."""
    if seconds is None:
        yield
        return

    def stop(*_: object) -> None:
        raise BenchmarkError(f"{what} took longer than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _clock() -> Clock:
    def event() -> Any:
        made = torch.cuda.Event(enable_timing=True)
        made.record()
        return made

    return Clock(torch.cuda.synchronize, event, lambda first, last: first.elapsed_time(last))


if __name__ == "__main__":
    serve({"facts": facts, "make": make, "time": _timer.time})
