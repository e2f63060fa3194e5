"""Benchmarks of the CUDA engine on the GPU at hand: python -m benchmarks.gpu [--check] [--out DIR] [--dry-run].

Training steps of nets of the zoo in float32, TF32 and bfloat16 against PyTorch (eager; channels_last with bf16;
torch.compile with CUDA graphs), all timed in turn in one process, and the batch normalisation kernels against the
card's own copy bandwidth. `--check` first runs the engine's tests on the card, and some of them once more under
compute-sanitizer where that is found. Uses the packages that are there and says which are missing; needs nothing from a
network. `--dry-run` needs no GPU: it counts launches and bytes of the same nets, and the floor that they imply.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks._harness import ROOT, BenchmarkError, machine, ratio, table

__all__ = ["Plan", "main", "run"]

NEEDED = {"numpy": "everything", "google.protobuf": "everything"}
WANTED = {
    "cupy": "the CUDA engine", "torch": "PyTorch's side", "pytest": "--check", "lmdb": "some tests",
    "cudnn": "convolutions by cuDNN's graphs: nvidia-cudnn-frontend",
}  # fmt: skip
SANITIZED = ("test_gradients.py",)  # small, and goes through nearly every kernel


@dataclass
class Plan:
    """The nets, shapes and repetitions to measure."""

    nets: Sequence[str] = ("cifar10_quick", "cifar10_quick_bn_split", "cifar10_quick_bn_merged")
    batches: Sequence[int] = (100, 1000)
    deep: tuple[str, int] | None = ("resnet50", 64)
    shapes: Sequence[tuple[int, ...]] = ((64, 64, 112, 112), (64, 256, 56, 56), (64, 2048, 7, 7), (8192, 4096))
    precisions: Sequence[str] = ("fp32", "bf16")  # of the kernels
    rounds: int = 9
    block_ms: float = 60
    copied_megabytes: int = 2048
    repeats: int = 20

    def cases(self) -> list[tuple[str, int]]:
        """Net and batch size of each training step to time."""
        return [(net, batch) for net in self.nets for batch in self.batches] + ([self.deep] if self.deep else [])


@dataclass
class Report:
    """Lines for the screen and gpu.md, facts for gpu.json."""

    lines: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def say(self, line: str) -> None:
        """Print a line and keep it for gpu.md."""
        print(line, flush=True)
        self.lines.append(line)

    def write(self, folder: str) -> None:
        """Write gpu.md and gpu.json to `folder`, atomically."""
        from dragon.files.atomic import write_atomically

        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        write_atomically(str(target / "gpu.md"), ("\n\n".join(self.lines) + "\n").encode())
        write_atomically(str(target / "gpu.json"), json.dumps(self.facts, indent=1).encode())
        print(f"written: {target / 'gpu.md'}, {target / 'gpu.json'}", flush=True)


def absent(names: dict[str, str]) -> list[str]:
    """A line for each package that cannot be imported, with what needs it."""
    lines = []
    for name, use in names.items():
        try:
            importlib.import_module(name)
        except (ImportError, OSError) as error:
            lines.append(f"{name} is missing ({use}): {(str(error) or repr(error)).splitlines()[0]}")
    return lines


def check(say: Any) -> bool | None:
    """Run the tests of the engine on the GPU; whether they passed, None if they could not run."""
    try:
        importlib.import_module("pytest")
    except ImportError:
        say("pytest is missing: the tests were not run")
        return None
    env = {**os.environ, "DRAGON_TEST_GPU": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default"]
    passed = subprocess.run([*command, "tests/engines/cuda"], cwd=ROOT, env=env, check=False).returncode == 0
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        say("compute-sanitizer is missing: memory accesses on the card were not checked")
        return passed
    files = [f"tests/engines/cuda/{name}" for name in SANITIZED]
    for tool in ("memcheck", "racecheck"):
        done = subprocess.run(
            [sanitizer, "--tool", tool, "--error-exitcode", "1", *command, *files], cwd=ROOT, env=env, check=False
        )
        passed = passed and done.returncode == 0
    return passed


# -- all of it ---------------------------------------------------------------------------------------------------
def run(plan: Plan, report: Report) -> None:
    """Measure everything on the first GPU."""
    from benchmarks.gpu_kernels import copy_bandwidth

    cupy, facts = importlib.import_module("cupy"), report.facts
    gpu = cupy.cuda.runtime.getDeviceProperties(0)
    facts |= {"machine": machine(), "gpu": gpu["name"].decode(), "cupy": cupy.__version__, "torch": None}
    if not absent({"torch": ""}):
        facts["torch"] = importlib.import_module("torch").__version__
    bandwidth = facts["copy_bytes_per_second"] = copy_bandwidth(plan.copied_megabytes, plan.repeats)
    report.say(f"{facts['gpu']}: a copy moves {bandwidth / 1e12:.3g} TB/s")
    _training(plan, report)
    _normalization(plan, report, bandwidth)


def _training(plan: Plan, report: Report) -> None:
    from benchmarks.gpu_training import Case, aims, training

    found, rows, reached = report.facts.setdefault("training", []), [], []
    if not report.facts["torch"]:
        report.say("torch is missing: ours was timed without a peer")
    for net, batch in plan.cases():
        case = Case(net, batch)
        try:
            series, remarks = training(case, plan.rounds, bool(report.facts["torch"]), report.say, plan.block_ms)
        except BenchmarkError as error:
            report.say(str(error))
            continue
        first = next(iter(series.values()))
        rows += [[net, batch, name, one.median, ratio(one, first)[0]] for name, one in series.items()]
        reached += aims(case, series)
        measured = {name: one.facts() for name, one in series.items()}
        found.append({"net": net, "batch": batch, "series": measured, "remarks": remarks})
        print(f"{net} at batch {batch}: " + "; ".join(next(iter(remarks.values()))), flush=True)
    report.say(table(["net", "batch", "by", "ms per step", "x dragon's time"], rows))
    for line in reached:
        report.say(line)
    report.facts["aims"] = reached


def _normalization(plan: Plan, report: Report, bandwidth: float) -> None:
    from benchmarks.gpu_kernels import normalization
    from dragon.errors import DragonError

    found = report.facts.setdefault("normalization", [])
    for precision in plan.precisions:
        for shape in plan.shapes:
            try:
                found.append(normalization(shape, bandwidth, plan.repeats, precision))
            except (BenchmarkError, DragonError) as error:
                report.say(f"batch normalisation of {shape} in {precision} was not measured: {error}")
    rows = [
        ["x".join(map(str, f["shape"])), f["precision"], f["forward_of_copy"], f["backward_of_copy"],
         f["split_over_merged"]]
        for f in found
    ]  # fmt: skip
    report.say(table(["shape", "precision", "forward / copy", "backward / copy", "split / merged"], rows))


def dry_run(plan: Plan, report: Report) -> None:
    """Report launches, bytes and lower bounds of time of the same nets, from their plans."""
    from benchmarks.cpu_nets import SOLVER, net_for
    from dragon.bases.layer import TRAIN
    from dragon.engines.cuda import plan_figures
    from dragon.engines.cuda.plan.figures import COPY_BANDWIDTH, NODE_SECONDS
    from dragon.graph.net import Net

    rows, found = [], report.facts.setdefault("planned", [])
    for net, batch in plan.cases():
        made = Net(net_for(net, batch, TRAIN), TRAIN, engine="numpy", seed=1)
        for precision in plan.precisions:
            figures = plan_figures(made, precision=precision)
            floor = figures.floor_seconds * 1e6
            rows.append([net, batch, precision, figures.launches, figures.bytes / 1e6, floor])
            found.append(
                {"net": net, "batch": batch, "precision": precision, "launches": figures.launches,
                 "bytes": figures.bytes, "floor_us": floor, "solver": {k: str(v) for k, v in SOLVER.items()}}
            )  # fmt: skip
        made.close()
    report.say(table(["net", "batch", "precision", "launches", "MB moved", "floor, us"], rows))
    report.say(
        f"The floor on an H200, from {COPY_BANDWIDTH / 1e12:.1f} TB/s and {NODE_SECONDS * 1e6:.0f} us for each launch, "
        "convolutions as products of unfolded images. Counted from the plans: nothing ran on a GPU."
    )


def main(arguments: Sequence[str] | None = None, plan: Plan | None = None) -> int:
    """Run the command line; 1 if tests failed, 2 if nothing could be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--out", metavar="DIR", help="write gpu.md and gpu.json there")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--check", action="store_true", help="run the engine's tests on the card first")
    parser.add_argument("--dry-run", action="store_true", help="count instead of measuring; needs no GPU")
    args = parser.parse_args(arguments)
    plan, report = plan or Plan(), Report()
    plan.rounds = args.rounds or plan.rounds
    lacking = absent(NEEDED)
    if lacking:
        for line in lacking:
            report.say(line)
        return 2
    passed: bool | None = None
    if args.dry_run:
        dry_run(plan, report)
    else:
        report.facts["missing"] = absent(WANTED)
        for line in report.facts["missing"]:
            report.say(line)
        from dragon.engines import cuda_problem

        problem = cuda_problem()
        if problem:
            report.say(f"nothing was measured: {problem}")
            return 2
        passed = report.facts["tests_passed"] = check(report.say) if args.check else None
        run(plan, report)
    if args.out:
        report.write(args.out)
    return 1 if passed is False else 0


if __name__ == "__main__":
    sys.exit(main())
