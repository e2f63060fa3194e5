"""What the CUDA engine is worth on the card at hand: python -m benchmarks.gpu [--check] [--out DIR].

Training steps of nets of the zoo against PyTorch (eager; channels_last with bf16; torch.compile with CUDA graphs), all
timed in turn in one process, and the batch normalisation kernels against the card's own copy bandwidth. `--check` first
runs the engine's tests on the card, and some of them once more under compute-sanitizer where that is found. Uses the
packages that are there and says which are missing; needs nothing from a network.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks._harness import ROOT, BenchmarkError, Candidate, Series, Step, interleave, machine, ratio, table

__all__ = ["main"]

WANTED = {"cupy": "the CUDA engine", "torch": "PyTorch's side", "numpy": "everything", "google.protobuf": "everything"}
NETS = ("cifar10_quick", "cifar10_quick_bn_split", "cifar10_quick_bn_merged")
BATCHES = (100, 1000)
DEEP = ("resnet50", 64)
BN_SHAPES = ((64, 64, 112, 112), (64, 256, 56, 56), (64, 2048, 7, 7), (8192, 4096))
SANITIZED = ("test_gradients.py",)  # small, and goes through nearly every kernel
FORWARD_PASSES, BACKWARD_PASSES = 3, 5  # over the activations: x x y, and dy x dy x dx


def missing() -> list[str]:
    """Packages that are not here, each with what needs it."""
    lines = []
    for name, use in WANTED.items():
        try:
            importlib.import_module(name)
        except ImportError as error:
            lines.append(f"{name} is missing ({use}): {str(error).splitlines()[0]}")
    return lines


def check() -> bool:
    """The engine's tests on the card; whether they passed."""
    env = {**os.environ, "DRAGON_TEST_GPU": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default"]
    passed = subprocess.run([*command, "tests/engines/cuda"], cwd=ROOT, env=env, check=False).returncode == 0
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        print("compute-sanitizer is missing: memory accesses on the card were not checked")
        return passed
    files = [f"tests/engines/cuda/{name}" for name in SANITIZED]
    for tool in ("memcheck", "racecheck"):
        done = subprocess.run(
            [sanitizer, "--tool", tool, "--error-exitcode", "1", *command, *files], cwd=ROOT, env=env, check=False
        )
        passed = passed and done.returncode == 0
    return passed


# -- training steps ----------------------------------------------------------------------------------------------
def _ours(net: str, batch: int, tf32: bool) -> tuple[Step, Any]:
    from benchmarks.cpu_nets import SOLVER, inputs, net_for
    from dragon.engines import Options
    from dragon.layer import TRAIN
    from dragon.proto import dragon_pb2 as pb
    from dragon.solvers.types import get_solver

    param = pb.SolverParameter(net_param=net_for(net, batch, TRAIN), **SOLVER)
    solver = get_solver(param, engine="cuda", options=Options(tf32=tf32), seed=1)
    images, labels = inputs(net, solver.net.blobs["data"].shape)
    solver.net.blobs["data"].data[...] = images
    solver.net.blobs["label"].data[...] = labels
    return lambda: solver.step(1), solver


def _torchs(solver: Any, channels_last: bool, compiled: bool) -> Step:
    torch = importlib.import_module("torch")
    from benchmarks import cpu_torch
    from benchmarks.cpu_nets import SOLVER, describe, export_arrays

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "arrays.npz")
        export_arrays(solver.net, path)
        module, images, labels, rates = cpu_torch.build(describe(solver.net.param), path)
    module, images, labels = module.cuda().train(), images.cuda(), labels.cuda()  # type: ignore[union-attr]
    if channels_last:
        module, images = module.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    optimizer = cpu_torch._optimizer(module, rates, SOLVER, fused=channels_last or compiled)

    def compute(x: Any) -> Any:
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=channels_last):
            scores = module(x)
        return torch.nn.functional.cross_entropy(scores.float(), labels)

    run = torch.compile(compute, mode="reduce-overhead") if compiled else compute

    def step() -> None:
        if compiled:
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


def training(net: str, batch: int, rounds: int, with_torch: bool) -> dict[str, Series]:
    """Milliseconds of one training step, for us and for PyTorch in its forms."""
    cupy = importlib.import_module("cupy")
    step, solver = _ours(net, batch, tf32=False)
    wait: Callable[[], object] = cupy.cuda.runtime.deviceSynchronize
    candidates = [Candidate("dragon", run=_timed(step, wait))]
    candidates.append(Candidate("dragon, tf32", run=_timed(_ours(net, batch, tf32=True)[0], wait)))
    if with_torch:
        forms = {
            "torch eager": (False, False),
            "torch channels_last bf16": (True, False),
            "torch compiled": (False, True),
            "torch compiled, channels_last bf16": (True, True),
        }
        for name, (channels_last, compiled) in forms.items():
            try:
                peer = _torchs(solver, channels_last, compiled)
                peer()
            except Exception as error:
                print(f"{net} at batch {batch}: {name} does not run: {(str(error) or repr(error)).splitlines()[0]}")
                continue
            candidates.append(Candidate(name, run=_timed(peer, wait)))
    for note in solver.net.executor.remarks():
        print(f"  {note}")
    return interleave(candidates, rounds)


# -- kernels -----------------------------------------------------------------------------------------------------
@contextmanager
def _events(cupy: Any, stream: Any) -> Iterator[Callable[[], float]]:
    """Milliseconds between entering and leaving, by the GPU's clock."""
    begin, end = cupy.cuda.Event(), cupy.cuda.Event()
    begin.record(stream)
    yield lambda: float(cupy.cuda.get_elapsed_time(begin, end))
    end.record(stream)
    end.synchronize()


def copy_bandwidth(megabytes: int = 2048, repeats: int = 20) -> float:
    """Bytes per second that a copy in the GPU's memory reads and writes."""
    cupy = importlib.import_module("cupy")
    source = cupy.ones(megabytes << 18, "float32")
    target = cupy.empty_like(source)
    target[...] = source
    with _events(cupy, cupy.cuda.get_current_stream()) as elapsed:
        for _ in range(repeats):
            target[...] = source
    moved: float = 2 * source.nbytes * repeats / (elapsed() / 1e3)
    return moved


def _bn_net(shape: tuple[int, ...], merged: bool) -> Any:
    from google.protobuf import text_format

    from dragon.engines import Options
    from dragon.layer import TRAIN
    from dragon.net import Net
    from dragon.proto import dragon_pb2 as pb

    dims = " ".join(f"dim: {d}" for d in shape)
    text = f'force_backward: true layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }}'
    if merged:
        text += 'layer { name: "bn" type: "BN" bottom: "x" top: "y" }'
    else:
        text += 'layer { name: "bn" type: "BatchNorm" bottom: "x" top: "b" }'
        text += 'layer { name: "scale" type: "Scale" bottom: "b" top: "y" scale_param { bias_term: true } }'
    param = pb.NetParameter()
    text_format.Parse(text, param)
    return Net(param, TRAIN, engine="cuda", options=Options(), seed=1)


def normalization(shape: tuple[int, ...], bandwidth: float, repeats: int = 20) -> dict[str, Any]:
    """Achieved bytes per second of the merged layer over the copy bandwidth, and split over merged time."""
    cupy = importlib.import_module("cupy")
    import numpy as np

    found: dict[str, Any] = {"shape": list(shape)}
    for merged in (True, False):
        net = _bn_net(shape, merged)
        net.blobs["x"].data[...] = np.random.default_rng(0).standard_normal(shape, np.float32)
        net.blobs["y"].diff[...] = 1
        for _ in range(4):
            net.run_forward()
            net.run_backward()
        executor = net.executor
        with executor.gpu.active():
            for way in ("forward", "backward"):
                segments = executor.segments(way)
                if not any(segment.launch_graph() for segment in segments):
                    raise BenchmarkError(f"batch normalisation {way} was not captured: {executor.remarks()}")
                with _events(cupy, executor.gpu.stream) as elapsed:
                    for _ in range(repeats):
                        for segment in segments:
                            segment.launch_graph()
                found[f"{'merged' if merged else 'split'}_{way}_ms"] = elapsed() / repeats
        size = net.blobs["x"].count * 4
        net.close()
    for way, passes in (("forward", FORWARD_PASSES), ("backward", BACKWARD_PASSES)):
        found[f"{way}_of_copy"] = passes * size / (found[f"merged_{way}_ms"] / 1e3) / bandwidth
    both = [found[f"{form}_forward_ms"] + found[f"{form}_backward_ms"] for form in ("split", "merged")]
    found["split_over_merged"] = both[0] / both[1]
    return found


# -- all of it ---------------------------------------------------------------------------------------------------
def run(rounds: int) -> dict[str, Any]:
    cupy = importlib.import_module("cupy")
    gpu = cupy.cuda.runtime.getDeviceProperties(0)
    facts: dict[str, Any] = {"machine": machine(), "gpu": gpu["name"].decode(), "cupy": cupy.__version__}
    try:
        facts["torch"] = importlib.import_module("torch").__version__
    except ImportError:
        facts["torch"] = None
    bandwidth = copy_bandwidth()
    facts["copy_bytes_per_second"] = bandwidth
    print(f"{facts['gpu']}: a copy moves {bandwidth / 1e12:.2f} TB/s")
    facts["training"], rows = [], []
    cases = [(net, batch) for net in NETS for batch in BATCHES]
    if (ROOT / "models" / DEEP[0]).is_dir():
        cases.append(DEEP)
    else:
        print(f"the zoo has no {DEEP[0]}: it was not measured")
    for net, batch in cases:
        series = training(net, batch, rounds, facts["torch"] is not None)
        ours = series["dragon"]
        for name, other in series.items():
            rows.append([net, batch, name, other.median, ratio(other, ours)[0]])
        measured = {name: s.facts() for name, s in series.items()}
        facts["training"].append({"net": net, "batch": batch, "series": measured})
    print(table(["net", "batch", "by", "ms per step", "x dragon's time"], rows))
    facts["normalization"] = [normalization(shape, bandwidth) for shape in BN_SHAPES]
    print(
        table(
            ["shape", "forward / copy", "backward / copy", "split / merged"],
            [
                ["x".join(map(str, f["shape"])), f["forward_of_copy"], f["backward_of_copy"], f["split_over_merged"]]
                for f in facts["normalization"]
            ],
        )
    )
    return facts


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--out", metavar="DIR", help="write gpu.json there")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--check", action="store_true", help="run the engine's tests on the card first")
    args = parser.parse_args()
    print_now = functools.partial(print, flush=True)
    absent = missing()
    for line in absent:
        print_now(line)
    from dragon.engines import cuda_problem

    problem = cuda_problem()
    if problem:
        print_now(f"nothing was measured: {problem}")
        return 2
    passed = check() if args.check else None
    facts = {**run(args.rounds), "missing": absent, "tests_passed": passed}
    if args.out:
        from dragon.atomic import write_atomically

        Path(args.out).mkdir(parents=True, exist_ok=True)
        path = Path(args.out) / "gpu.json"
        write_atomically(str(path), json.dumps(facts, indent=1).encode())
        print_now(f"written: {path}")
    return 0 if passed in (True, None) else 1


if __name__ == "__main__":
    sys.exit(main())
