"""Training on several ranks against one process with as many threads, and the sum of gradients against MPI's own.

    python -m benchmarks.ranks --model models/cifar10_quick/train_val.prototxt --batch 100

Both train with the same images in an iteration: K ranks of one thread with a batch of B / K, and one process of K
threads with a batch of B. They take turns (A B, B A, ...), each in processes of its own, so that a machine that becomes
slower does so for both; the efficiency is the median of the ratios within a turn. 100 % is what one process makes of
the threads. All-reduce is timed in the same processes, size by size in turn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks._harness import ROOT, BenchmarkError, exit_status, machine, table
from dragon.errors import DragonError
from dragon.parallel.mpiexec import find_mpiexec, rank_environment

__all__ = ["main"]

SIZES = (1 << 12, 1 << 16, 1 << 20, 1 << 24)  # bytes of a gradient
MOST_SUMS = 30  # that are timed of each size in each way; a training of fewer steps times fewer


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark, or a rank of it; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/cifar10_quick/train_val.prototxt")
    parser.add_argument("--batch", type=int, default=100, help="images of all ranks")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rank", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    if given.rank:
        try:
            _rank(given)
        except DragonError as error:  # of all ranks
            print(json.dumps({"error": str(error)}), flush=True)
            return 2
        return 0
    return exit_status("benchmarks.ranks", lambda: _report(given), DragonError)


def _report(given: argparse.Namespace) -> None:
    if given.ranks < 2:
        raise BenchmarkError(f"--ranks must be at least 2, got {given.ranks}")
    if given.batch % given.ranks:
        raise BenchmarkError(f"a batch of {given.batch} cannot be divided among {given.ranks} ranks")
    turns: list[dict[str, Any]] = []
    for turn in range(given.turns):
        found = {ranks: _run(given, ranks) for ranks in ((1, given.ranks) if turn % 2 == 0 else (given.ranks, 1))}
        turns.append({"one": found[1], "many": found[given.ranks]})
    print(json.dumps(machine()))
    ratios = [turn["one"]["step_ms"] / turn["many"]["step_ms"] for turn in turns]
    rows = [
        [f"{n + 1}", f"{turn['one']['step_ms']:.1f}", f"{turn['many']['step_ms']:.1f}", f"{100 * ratio:.0f} %"]
        for n, (turn, ratio) in enumerate(zip(turns, ratios, strict=True))
    ]
    head = ["turn", f"1 rank x {given.ranks} threads, ms", f"{given.ranks} ranks x 1 thread, ms", "efficiency"]
    print(table(head, rows))
    print(f"efficiency: {100 * statistics.median(ratios):.0f} % (median of {len(ratios)} turns)\n")
    sums = [turn["many"]["sums_ms"] for turn in turns]
    rows = [
        [f"{size / 1024:,.0f} KiB", *(f"{statistics.median(s[way][k] for s in sums):.3f}" for way in sums[0])]
        for k, size in enumerate(SIZES)
    ]
    print(table(["mean over the ranks, ms", *sums[0]], rows))


def _run(given: argparse.Namespace, ranks: int) -> dict[str, Any]:
    """What rank 0 of a training on so many ranks found."""
    program = [
        sys.executable, "-m", "benchmarks.ranks", "--rank", "--model", given.model, "--batch", str(given.batch),
        "--ranks", str(given.ranks), "--steps", str(given.steps),
    ]  # fmt: skip
    command = program if ranks == 1 else [*find_mpiexec("the benchmark").command(ranks), *program]
    threads = str(given.ranks // ranks)
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT,
        env={**rank_environment(), "OMP_NUM_THREADS": threads},
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith(('{"step_ms"', '{"error"'))]
    found: dict[str, Any] = json.loads(lines[0]) if lines else {}
    if "error" in found:
        raise BenchmarkError(found["error"])
    if done.returncode or not found:
        raise BenchmarkError(f"{ranks} ranks: {(done.stderr or done.stdout).strip()[-500:]}")
    return found


def _rank(given: argparse.Namespace) -> None:
    """Train, and print the milliseconds of a step and of sums of several sizes."""
    from mpi4py import MPI

    from dragon.graph.outputs import batch_size
    from dragon.parallel.ranks import Ranks
    from dragon.proto import dragon_pb2 as pb
    from dragon.proto.definition import Definition
    from dragon.proto.text import read_net_definition
    from dragon.solver.solver import Solver

    net = read_net_definition(given.model)
    for layer in net.message.layer:
        if layer.HasField("data_param"):
            layer.data_param.batch_size = given.batch
    ranks = Ranks(MPI.COMM_WORLD)
    param = pb.SolverParameter(base_lr=0.001, lr_policy="fixed", momentum=0.9, weight_decay=0.004, random_seed=1)
    param.net_param.CopyFrom(net.message)
    together = ranks if ranks.size > 1 else None
    definition = Definition(param, folder=net.folder)
    with Solver(definition, engine="onednn", verbose=False, ranks=together, divided=together is not None) as solver:
        assert batch_size(solver.net) * ranks.size == given.batch
        solver.step(5)
        times = []
        for _ in range(given.steps):
            began = time.perf_counter()
            solver.step(1)
            times.append(time.perf_counter() - began)
    sums = _sums(ranks, min(MOST_SUMS, given.steps)) if ranks.size > 1 else {}
    found = {"step_ms": statistics.mean(times) * 1e3, "sums_ms": sums}
    if ranks.leads:
        print(json.dumps(found))


def _sums(ranks: Any, count: int) -> dict[str, list[float]]:
    """Median milliseconds of `count` means of each size, in each way."""
    import numpy as np

    from benchmarks.reductions import by_mpi, seconds
    from dragon.parallel.wire import WIRES

    ways = {
        "Dragon": ranks.mean,
        "MPI_Allreduce": by_mpi,
        **{f"Dragon, {name}": lambda v, wire=wire: ranks.mean(v, wire) for name, wire in WIRES.items() if wire},
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for size in SIZES:
        values = np.ones(size // 4, np.float32)
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(count):
            for way, mean in ways.items():
                taken[way].append(seconds(ranks, mean, values))
                values[...] = 1
        for way, each in taken.items():
            times[way].append(statistics.median(each) * 1e3)
    return times


if __name__ == "__main__":
    sys.exit(main())
