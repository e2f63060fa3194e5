"""CPU benchmarks of whole processes: `dragon train` from LMDB, first step, peak memory; and the time of each layer."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks._harness import ROOT, BenchmarkError, Series, Worker, ratio
from benchmarks.cpu_compare import Bench, Result
from benchmarks.cpu_nets import SOLVER

__all__ = ["profile", "program", "start"]

_PROGRAM_NET = "cifar10_quick"


def _train(bench: Bench, form: dict[str, Any], folder: Path, iterations: int, cwd: Path) -> float:
    """Seconds of `dragon train` for a number of iterations, with log and plots as users have them, without tests."""
    text = "\n".join(
        [
            f'net: "{ROOT}/models/{_PROGRAM_NET}/train_val.prototxt"',
            *(f'{key}: "{value}"' if isinstance(value, str) else f"{key}: {value}" for key, value in SOLVER.items()),
            f"max_iter: {iterations}",
            "display: 100",
            "snapshot_after_train: false",
        ]
    )
    solver = folder / "solver.prototxt"
    solver.write_text(text)
    command = [sys.executable, "-m", "dragon.tools.main", "train", "--solver", str(solver), "--output", str(folder)]
    command += ["--engine", bench.engine, "--precision", form.get("precision", "fp32"), "--seed", "1"]
    command += ["--threads", str(bench.threads)] if bench.threads else []
    now = _children_time if bench.clock == "cpu" else time.perf_counter
    begin = now()
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    seconds = now() - begin
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise BenchmarkError(f"dragon train ended with {done.returncode}: {''.join(last)}")
    return seconds


def program(bench: Bench, cwd: Path = ROOT) -> Iterator[Result]:
    """The whole program against the bare step; runs of two lengths separate the rate from the start-up."""
    if not (cwd / "data/cifar10/cifar10_train_lmdb").is_dir():
        raise BenchmarkError("data/cifar10 is missing: run `dragon data cifar10` first")
    iterations = bench.iterations
    few = max(1, iterations // 6)
    for precision, form in bench.ours().items():
        whole, bare, start_up = Series(), Series(), Series()
        with tempfile.TemporaryDirectory() as folder, Worker("benchmarks.cpu_ours") as worker:
            settings = {"mode": "train", "net": _PROGRAM_NET, "batch": 100, "engine": bench.engine}
            worker.ask("make", candidate="step", **form, **settings)
            for _ in range(max(1, (bench.rounds + 1) // 4)):
                before = worker.ask("time", candidate="step", count=few, warm=3, clock=bench.clock)
                short = _train(bench, form, Path(folder), few, cwd)
                long = _train(bench, form, Path(folder), iterations, cwd)
                after = worker.ask("time", candidate="step", count=few, warm=3, clock=bench.clock)
                bare.ms.append((before + after) / 2)
                whole.ms.append((long - short) / (iterations - few) * 1e3)
                start_up.ms.append(short * 1e3 - whole.ms[-1] * few)
        median, minimum = ratio(bare, whole)
        yield {
            "net": _PROGRAM_NET, "batch": 100, "precision": precision, "notes": [], "iterations": iterations,
            "candidates": {"bare step": bare.facts(), "whole program": whole.facts(), "start-up": start_up.facts()},
            "ratios": {"rate": {"median": round(median, 4), "min": round(minimum, 4)}},
            "images_per_second": {"bare step": 1e5 / bare.median, "whole program": 1e5 / whole.median},
        }  # fmt: skip


def _children_time() -> float:
    """Processor seconds of all child processes that ended."""
    times = os.times()
    return times.children_user + times.children_system


def _first_step(module: str, python: str, make: dict[str, Any], env: dict[str, str], clock: str) -> dict[str, float]:
    begin = time.perf_counter()
    with Worker(module, python, env) as worker:
        worker.ask("make", candidate="step", **make)
        worker.ask("time", candidate="step", count=1, warm=0)
        seconds = worker.ask("cpu") if clock == "cpu" else time.perf_counter() - begin
        worker.ask("time", candidate="step", count=10, warm=0)
        return {"seconds": seconds, "peak_mb": worker.ask("peak") / 2**20}


def start(bench: Bench) -> Iterator[Result]:
    """Time from the start of the process to the end of the first training step, and peak memory after eleven."""
    batch = bench.batches_or((100,))[0]
    for net in [name for name in ("cifar10_quick", "cifar10_quick_bn_merged", "lenet") if name in bench.nets][:2]:
        measured: dict[str, list[dict[str, float]]] = {}
        with tempfile.TemporaryDirectory() as folder:
            with Worker("benchmarks.cpu_ours") as worker:
                exported = worker.ask("export", mode="train", net=net, batch=batch, folder=folder, engine=bench.engine)
            theirs = {"mode": "train", "layers": exported["layers"], "arrays": exported["arrays"], "solver": SOLVER}
            own = {"mode": "train", "net": net, "batch": batch, "engine": bench.engine}
            for _ in range(max(1, (bench.rounds + 1) // 4)):
                for name, form in bench.ours().items():
                    taken = _first_step("benchmarks.cpu_ours", sys.executable, {**own, **form}, {}, bench.clock)
                    measured.setdefault(name, []).append(taken)
                for name, form in bench.peers().items():
                    assert bench.peer is not None
                    with tempfile.TemporaryDirectory() as cache:
                        env = {"TORCHINDUCTOR_CACHE_DIR": cache} if form.get("compiled") else {}
                        taken = _first_step("benchmarks.cpu_torch", bench.peer, {**theirs, **form}, env, bench.clock)
                    measured.setdefault(name, []).append(taken)
        yield {
            "net": net, "batch": batch, "notes": [], "ratios": {},
            "candidates": {
                name: {key: round(sorted(run[key] for run in runs)[len(runs) // 2], 3) for key in runs[0]}
                for name, runs in measured.items()
            },
        }  # fmt: skip


_PEAK_SIZE = 256  # of the matrix product, which then fits the caches; smaller for small trials
_NORMS = ("BN", "BatchNorm", "Scale")


def profile(bench: Bench) -> Iterator[Result]:
    """Our time by layer, and the rate of convolutions against one large matrix product on the same engine."""
    with Worker("benchmarks.cpu_ours") as worker:
        for precision, form in bench.ours().items():
            size = min(_PEAK_SIZE, 32 * max(bench.batches_or((_PEAK_SIZE,))))
            peak = worker.ask("peak_rate", size=size, engine=bench.engine, clock=bench.clock, **form)
            for net in bench.nets:
                batch = bench.batches_or((100,))[0]
                settings = {"net": net, "batch": batch, "engine": bench.engine, "clock": bench.clock, **form}
                runs = [worker.ask("profile", iterations=3, **settings) for _ in range(max(1, bench.rounds // 2))]
                layers = [_minimum(same) for same in zip(*runs, strict=True)]
                total = sum(layer["forward_ms"] + layer["backward_ms"] for layer in layers)
                norm = sum(layer["forward_ms"] + layer["backward_ms"] for layer in layers if layer["type"] in _NORMS)
                floor = 0.0
                for layer in layers:
                    if layer["multiply_adds"]:
                        work = 2 * layer["multiply_adds"] / 1e6
                        floor += work * (1 + layer["passes_back"]) / peak
                        layer["forward_gflops"] = round(work / max(layer["forward_ms"], 1e-6), 1)
                        back = work * layer["passes_back"] / max(layer["backward_ms"], 1e-6)
                        layer["backward_gflops"] = round(back, 1)
                yield {
                    "net": net, "batch": batch, "precision": precision, "notes": [], "peak_gflops": round(peak, 1),
                    "total_ms": round(total, 4), "share_of_bn": round(norm / total, 4), "floor_ms": round(floor, 4),
                    "layers": layers,
                    "candidates": {}, "ratios": {},
                }  # fmt: skip


def _minimum(runs: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """The row of one layer with the minimum times of several profiles, which a busy machine affects least."""
    times = {key: round(min(run[key] for run in runs), 5) for key in ("forward_ms", "backward_ms")}
    return {**runs[0], **times}
