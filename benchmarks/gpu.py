"""Benchmarks of the CUDA engine on the GPU at hand: python -m benchmarks.gpu [--stages A,B] [--budget S] [--out DIR].

In stages, each within its share of the budget, and written as soon as it is there: the smoke test, the engine's tests
on the card, the kernels of batch normalisation against the card's own copy, and training steps of nets of the zoo in
float32, TF32 and bfloat16 against PyTorch (eager, channels-last, compiled, and whole steps as CUDA graphs). `--check`
adds the stages that test. Uses the packages that are there and says which are missing; needs nothing from a network.
`--dry-run` needs no GPU: it counts launches and bytes of the same nets, and the floor that they imply.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks import gpu_checks
from benchmarks._harness import BenchmarkError, Worker, machine, table
from benchmarks.gpu_cases import PEERS, Case
from benchmarks.gpu_report import Report, add_kernels, add_training
from benchmarks.gpu_training import Settings, training

__all__ = ["Plan", "main", "shares"]

NEEDED = {"numpy": "everything", "google.protobuf": "everything"}
WANTED = {
    "cupy": "the CUDA engine", "torch": "PyTorch's side", "pytest": "--check", "lmdb": "some tests",
    "cudnn": "convolutions by cuDNN's graphs: nvidia-cudnn-frontend",
}  # fmt: skip
# the seconds that each stage needs on an H200, by which the budget is shared
STAGES = {
    "smoke": 60.0, "tests": 75.0, "sanitizer": 120.0, "kernels": 30.0, "quick": 60.0, "resnet20": 45.0,
    "resnet50": 120.0, "quick_all": 300.0,
}  # fmt: skip
CHECKS: dict[str, Callable[[float, Callable[[str], object]], bool | None]] = {
    "smoke": gpu_checks.smoke, "tests": gpu_checks.engine_tests, "sanitizer": gpu_checks.sanitizer,
}  # fmt: skip
DEFAULT = ("kernels", "quick", "resnet20", "resnet50")
SHAPES = (
    (64, 64, 112, 112), (64, 256, 56, 56), (64, 2048, 7, 7), (8192, 4096),
    (802816, 64), (200704, 256), (50176, 512), (3136, 2048),  # maps of ResNet-50 with their channels last
    (256, 33792), (256, 31680),  # in bf16 on 132 multiprocessors: runs of 512 and of 480 bytes (channel_slices.RUN)
)  # fmt: skip
QUICK = ("cifar10_quick", "cifar10_quick_bn_split", "cifar10_quick_bn_merged")


def _cases() -> dict[str, list[Case]]:
    return {
        "quick": [Case(QUICK[2], 100)],
        "resnet20": [Case("resnet20_cifar10", 128)],
        "resnet50": [Case("resnet50", 64)],
        "quick_all": [Case(net, batch) for net in QUICK for batch in (100, 1000)],
    }


@dataclass
class Plan:
    """The nets, shapes and repetitions to measure. settings: of the nets, apart from their time."""

    cases: dict[str, list[Case]] = field(default_factory=_cases)
    shapes: Sequence[tuple[int, ...]] = SHAPES
    precisions: Sequence[str] = ("fp32", "bf16")  # of the kernels
    copied_megabytes: int = 2048
    repeats: int = 20
    settings: Settings = field(default_factory=Settings)


def shares(stages: Sequence[str], seconds: float) -> float:
    """The seconds that the first of the stages may take of those left: what one does not use goes to the later ones."""
    return seconds * STAGES[stages[0]] / sum(STAGES[name] for name in stages)


def absent(names: dict[str, str]) -> list[str]:
    """A line for each package that cannot be imported, with what needs it."""
    lines = []
    for name, use in names.items():
        try:
            importlib.import_module(name)
        except (ImportError, OSError) as error:
            lines.append(f"{name} is missing ({use}): {(str(error) or repr(error)).splitlines()[0]}")
    return lines


# -- stages ------------------------------------------------------------------------------------------------------
def run(plan: Plan, report: Report, stages: Sequence[str], budget: float) -> bool:
    """Run the stages on the first GPU; whether no check failed."""
    end, passed = time.monotonic() + budget, True
    facts = report.facts
    facts |= {"machine": machine(), "torch": None, "stages": {}, "training": [], "normalization": [], "aims": []}
    if not any(line.startswith("torch ") for line in facts["missing"]):
        facts["torch"] = importlib.import_module("torch").__version__
    if not facts["torch"]:
        report.say("torch is missing: ours is timed without a peer")
        plan.settings = replace(plan.settings, with_torch=False)
    for k, stage in enumerate(stages):
        begin = time.monotonic()
        share = shares(stages[k:], end - begin)
        if share < 1:
            report.say(f"{stage}: skipped, the budget is spent")
            continue
        if stage in CHECKS:
            facts[f"{stage}_passed"] = CHECKS[stage](share, report.say)
            passed = passed and facts[f"{stage}_passed"] is not False
        elif stage == "kernels":
            _kernels(plan, report, begin + share)
        else:
            _training(plan, report, plan.cases[stage], share)
        facts["stages"][stage] = {"share_s": round(share, 1), "took_s": round(time.monotonic() - begin, 1)}
        report.save()
    return passed


def _training(plan: Plan, report: Report, cases: Sequence[Case], share: float) -> None:
    end, chosen = time.monotonic() + share, plan.settings
    if chosen.with_torch:
        report.say(
            "cuDNN on both sides tries out its algorithms; "
            + (
                "deterministic ones only. "
                if chosen.deterministic
                else "PyTorch may take any, ours are deterministic. "
            )
            + "TF32 is off on both sides unless a name says tf32; bf16 is autocast in PyTorch. Ours reads its loss in "
            "each step, PyTorch's is left on the GPU."
        )
    for k, case in enumerate(cases):
        seconds = (end - time.monotonic()) / (len(cases) - k)
        try:
            measured = training(case, replace(chosen, seconds=seconds), report.say)
        except BenchmarkError as error:
            report.say(str(error))
            continue
        add_training(report, case, measured)


def _kernels(plan: Plan, report: Report, deadline: float) -> None:
    found = report.facts["normalization"]

    def ask(do: str, **settings: Any) -> Any:
        return worker.ask_within(deadline - time.monotonic(), do, **settings)

    with Worker(plan.settings.ours, env=plan.settings.env) as worker:
        try:
            report.facts |= ask("facts")
            bandwidth = ask("copy_bandwidth", megabytes=plan.copied_megabytes, repeats=plan.repeats)
        except BenchmarkError as error:
            report.say(f"kernels were not measured: {error}")
            return
        report.facts["copy_bytes_per_second"] = bandwidth
        report.say(f"{report.facts['gpu']}: a copy moves {bandwidth / 1e12:.3g} TB/s")
        for precision in plan.precisions:
            for shape in plan.shapes:
                what = {"shape": shape, "bandwidth": bandwidth, "repeats": plan.repeats, "precision": precision}
                try:
                    found.append(ask("normalization", **what))
                except BenchmarkError as error:
                    report.say(f"batch normalisation of {shape} in {precision} was not measured: {error}")
                report.save()
    add_kernels(report, found)


def dry_run(plan: Plan, report: Report) -> None:
    """Report launches, bytes and lower bounds of time of the same nets, from their plans."""
    from benchmarks.cpu_nets import SOLVER, net_for
    from dragon.bases.layer import TRAIN
    from dragon.engines.cuda import plan_figures
    from dragon.engines.cuda.plan.figures import COPY_BANDWIDTH, NODE_SECONDS
    from dragon.graph.net import Net

    rows, found = [], report.facts.setdefault("planned", [])
    for case in sorted({case for cases in plan.cases.values() for case in cases}, key=str):
        made = Net(net_for(case.net, case.batch, TRAIN, case.size), TRAIN, engine="numpy", seed=1)
        for precision in plan.precisions:
            figures = plan_figures(made, precision=precision)
            floor = figures.floor_seconds * 1e6
            rows.append([case.net, case.batch, precision, figures.launches, figures.bytes / 1e6, floor])
            found.append(
                {"net": case.net, "batch": case.batch, "precision": precision, "launches": figures.launches,
                 "bytes": figures.bytes, "floor_us": floor, "solver": {k: str(v) for k, v in SOLVER.items()}}
            )  # fmt: skip
        made.close()
    report.say(table(["net", "batch", "precision", "launches", "MB moved", "floor, us"], rows))
    report.say(
        f"The floor on an H200, from {COPY_BANDWIDTH / 1e12:.1f} TB/s and {NODE_SECONDS * 1e6:.0f} us for each launch, "
        "convolutions as products of unfolded images. Counted from the plans: nothing ran on a GPU."
    )


# -- the command line --------------------------------------------------------------------------------------------
def _stages(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in STAGES:
            raise argparse.ArgumentTypeError(f'"{name}" is not a stage; there are {", ".join(STAGES)}')
    return names


def _pattern(text: str) -> str:
    try:
        found = any(re.search(text, name) for name in PEERS)
    except re.error as error:
        raise argparse.ArgumentTypeError(f'"{text}" is not a regular expression: {error}') from None
    if not found:
        raise argparse.ArgumentTypeError(f'"{text}" finds no peer of {", ".join(PEERS)}')
    return text


def main(arguments: Sequence[str] | None = None, plan: Plan | None = None) -> int:
    """Run the command line; 1 if a check failed, 2 if nothing could be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--out", metavar="DIR", help="keep gpu.md and gpu.json there up to date")
    parser.add_argument("--stages", type=_stages, help=f"of {', '.join(STAGES)}; default {','.join(DEFAULT)}")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="for all stages; default: what they need")
    parser.add_argument(
        "--compile-limit", type=float, metavar="SECONDS", help="to set up one compiled form; default 60"
    )
    parser.add_argument("--rounds", type=int)
    parser.add_argument(
        "--peers", type=_pattern, default="", metavar="REGEX",
        help=f"only the peers that it finds, of {', '.join(PEERS)}",
    )  # fmt: skip
    parser.add_argument("--check", action="store_true", help="first the stages smoke, tests and sanitizer")
    parser.add_argument("--profile", action="store_true", help="add the kernels of one step of ours; needs PyTorch")
    parser.add_argument("--any-algorithm", action="store_true", help="PyTorch may take those that vary from run to run")
    parser.add_argument("--dry-run", action="store_true", help="count instead of measuring; needs no GPU")
    args = parser.parse_args(arguments)
    plan, report = plan or Plan(), Report(args.out)
    chosen = plan.settings
    plan.settings = replace(
        chosen, rounds=args.rounds or chosen.rounds, profile=args.profile, deterministic=not args.any_algorithm,
        compile_seconds=args.compile_limit or chosen.compile_seconds, only=args.peers,
    )  # fmt: skip
    lacking = absent(NEEDED)
    if lacking:
        for line in lacking:
            report.say(line)
        return 2
    passed = True
    if args.dry_run:
        dry_run(plan, report)
    else:
        missing = absent(WANTED)
        for line in missing:
            report.say(line)
        from dragon.engines import cuda_problem

        problem = cuda_problem()
        if problem:
            report.say(f"nothing was measured: {problem}")
            return 2
        report.facts["missing"] = missing
        stages = [*(CHECKS if args.check else ()), *(args.stages or DEFAULT)]
        stages = list(dict.fromkeys(stages))
        passed = run(plan, report, stages, args.budget or sum(STAGES[name] for name in stages))
    report.save()
    if args.out:
        print(f"written: {args.out}/gpu.md, {args.out}/gpu.json", flush=True)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
