"""Times training steps on a GPU: Dragon in each precision and PyTorch in several forms, in turn in one process."""

from __future__ import annotations

import importlib
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._harness import BenchmarkError, Candidate, Series, Step, interleave, ratio
from benchmarks.cpu_nets import SOLVER, describe, export_arrays, inputs, net_for

__all__ = ["OURS", "PEERS", "Case", "aims", "ours", "training"]

# name -> precision, TF32
OURS = {"dragon": ("fp32", False), "dragon, tf32": ("fp32", True), "dragon, bf16": ("bf16", False)}


@dataclass(frozen=True)
class Form:
    """How PyTorch runs. Float32 without TF32 is what `dragon` is compared with."""

    tf32: bool = False
    bf16: bool = False  # with channels last
    compiled: bool = False  # with CUDA graphs


PEERS = {
    "torch eager": Form(),
    "torch eager, tf32": Form(tf32=True),
    "torch channels_last bf16": Form(tf32=True, bf16=True),
    "torch compiled": Form(compiled=True),
    "torch compiled, tf32": Form(tf32=True, compiled=True),
    "torch compiled, channels_last bf16": Form(tf32=True, bf16=True, compiled=True),
}


@dataclass(frozen=True)
class Case:
    """A net at a batch size; `size`: height and width instead of those of the model, for quick trials."""

    net: str
    batch: int
    size: int | None = None


def ours(case: Case, precision: str, tf32: bool) -> Any:
    """A solver on the GPU, with images and labels in the input blobs of its net."""
    from dragon.bases.layer import TRAIN
    from dragon.engines import Options
    from dragon.proto import dragon_pb2 as pb
    from dragon.solver.types import get_solver

    param = pb.SolverParameter(net_param=net_for(case.net, case.batch, TRAIN, case.size), **SOLVER)
    solver = get_solver(param, engine="cuda", options=Options(tf32=tf32, precision=precision), seed=1)
    images, labels = inputs(case.net, solver.net.blobs["data"].shape)
    solver.net.blobs["data"].data[...] = images
    solver.net.blobs["label"].data[...] = labels
    return solver


def _torch_step(case: Case, solver: Any, form: Form) -> Step:
    torch = importlib.import_module("torch")
    from benchmarks import cpu_torch
    from dragon.bases.layer import TRAIN

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "arrays.npz")
        export_arrays(solver.net, path)
        module, images, labels, rates = cpu_torch.build(describe(net_for(case.net, case.batch, TRAIN, case.size)), path)
    module, images, labels = module.cuda().train(), images.cuda(), labels.cuda()  # type: ignore[union-attr]
    if form.bf16:
        module, images = module.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    optimizer = cpu_torch._optimizer(module, rates, SOLVER, fused=form.bf16 or form.compiled)

    def compute(x: Any) -> Any:
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=form.bf16):
            scores = module(x)
        return torch.nn.functional.cross_entropy(scores.float(), labels)

    run = torch.compile(compute, mode="reduce-overhead") if form.compiled else compute

    def step() -> None:
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = form.tf32
        if form.compiled:
            torch.compiler.cudagraph_mark_step_begin()
        optimizer.zero_grad(set_to_none=True)
        run(images).backward()
        optimizer.step()

    return step


def _timed(step: Step, wait: Callable[[], object]) -> Callable[[int], float]:
    def run(count: int) -> float:
        step()
        wait()
        begin = time.perf_counter()
        for _ in range(count):
            step()
        wait()
        return (time.perf_counter() - begin) / count * 1e3

    return run


def training(case: Case, rounds: int, with_torch: bool, say: Callable[[str], object], block_ms: float = 60) -> Any:
    """Series of milliseconds of a training step by name, and the remarks of Dragon's engine by name.

    Raises BenchmarkError if no candidate of Dragon's runs.
    """
    cupy = importlib.import_module("cupy")
    wait: Callable[[], object] = cupy.cuda.runtime.deviceSynchronize
    candidates: list[Candidate] = []
    solvers: dict[str, Any] = {}

    def add(name: str, make: Callable[[], Step]) -> None:
        try:
            step = make()
            step()
            wait()
        except Exception as error:  # out of memory, an operator that a release lacks, ...
            why = " ".join((str(error) or repr(error)).split())
            say(f"{case.net} at batch {case.batch}: {name} does not run: {why}")
            return
        candidates.append(Candidate(name, run=_timed(step, wait)))

    def make_ours(name: str, precision: str, tf32: bool) -> Step:
        solvers[name] = ours(case, precision, tf32)
        return lambda: solvers[name].step(1)

    for name, (precision, tf32) in OURS.items():
        add(name, lambda name=name, precision=precision, tf32=tf32: make_ours(name, precision, tf32))  # type: ignore[misc]
    if not candidates:
        raise BenchmarkError(f"{case.net} at batch {case.batch}: nothing of ours runs")
    first = solvers[candidates[0].name]
    if with_torch:
        for name, form in PEERS.items():
            add(name, lambda form=form: _torch_step(case, first, form))  # type: ignore[misc]
    try:
        series = interleave(candidates, rounds, block_ms)
        return series, {c.name: solvers[c.name].net.executor.remarks() for c in candidates if c.name in solvers}
    finally:
        for solver in solvers.values():
            solver.close()


def aims(case: Case, series: Mapping[str, Series]) -> list[str]:
    """A line for each target of a case, with what was reached; empty without a peer."""
    peers = [series[name] for name in PEERS if name in series]
    mine = [series[name] for name in OURS if name in series]
    if not peers or "torch eager" not in series or "dragon" not in series:
        return []
    fastest_peer, fastest = min(peers, key=lambda s: s.median), min(mine, key=lambda s: s.median)
    over_eager = ratio(series["torch eager"], series["dragon"])[0]
    over_best = ratio(fastest_peer, fastest)[0]
    at = f"{case.net} at batch {case.batch}"
    if case.net == "resnet50":
        return [_aim(f"{at}: best of ours over the best PyTorch", over_best, 0.9)]
    if case.batch == 100:
        return [
            _aim(f"{at}: over eager, both in float32", over_eager, 3.0),
            _aim(f"{at}: best of ours over the best PyTorch", over_best, 1.2),
        ]
    return []


def _aim(what: str, reached: float, wanted: float) -> str:
    return f"{'reached' if reached >= wanted else 'MISSED'}: {what}: {reached:.2f} x, aim {wanted} x"
