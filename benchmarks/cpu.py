"""Measures training and inference on a CPU against PyTorch: `python benchmarks/cpu.py --help`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # `benchmarks` is found from there

from benchmarks._harness import BenchmarkError, check_clock, exit_status, machine
from benchmarks.cpu_busy import busy
from benchmarks.cpu_compare import NETS, Bench, Result, batch_norm, inference, step, threads, winograd
from benchmarks.cpu_program import profile, program, start
from benchmarks.cpu_report import report, verdicts
from dragon.errors import DragonError
from dragon.files.atomic import write_atomically

__all__ = ["main"]

SECTIONS: dict[str, Callable[[Bench], Iterator[Result]]] = {
    "step": step, "program": program, "inference": inference, "start": start, "bn": batch_norm, "threads": threads,
    "profile": profile, "winograd": winograd, "busy": busy,
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen sections; 2 for a measurement that cannot be made."""
    options = _parser().parse_args(arguments)
    return exit_status("cpu.py", lambda: _run(options), DragonError)


def _run(options: argparse.Namespace) -> None:
    check_clock(options.clock, options.threads)
    peer = None if options.no_peer else _peer(options.peer_python)
    bench = Bench(
        options.rounds, peer, options.net or NETS, options.batch, not options.no_compile, options.engine,
        not options.no_bf16, options.block_ms,
        iterations=options.iterations, threads=options.threads, clock=options.clock,
    )  # fmt: skip
    record: dict[str, Any] = {
        "command": " ".join(["python", "benchmarks/cpu.py", *sys.argv[1:]]), "machine": machine(),
        "rounds": bench.rounds, "versions": _versions(bench), "begun": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "sections": {},
    }  # fmt: skip
    print(json.dumps({key: record[key] for key in ("machine", "versions")}, indent=1))
    for name in options.only or [name for name in SECTIONS if name != "busy"]:
        results = record["sections"].setdefault(name, [])
        for result in SECTIONS[name](bench):
            results.append(result)
            for note in result["notes"]:
                print(f"note: {note}")
            print(f"{name}: {result['net']}, batch {result['batch']}: done", file=sys.stderr, flush=True)
            _save(options.json, record)
        print(f"\n## {name}\n\n{report(name, results)}", flush=True)
    record["machine"]["load_at_end"] = machine()["load"]
    lines = verdicts(record["sections"])
    if lines:
        print("\n## targets\n\n" + "\n".join(lines))
    _save(options.json, record)


def _save(path: str | None, record: dict[str, Any]) -> None:
    if path is not None:
        write_atomically(path, json.dumps(record, indent=1).encode())


def _versions(bench: Bench) -> dict[str, Any]:
    with bench.workers() as workers:
        return {name: worker.ask("facts") for name, worker in workers.items()}


def _peer(python: str | None) -> str | None:
    """The interpreter to run PyTorch with: the one given, else this one if it can import it."""
    chosen = python or sys.executable
    try:
        done = subprocess.run([chosen, "-c", "import torch"], capture_output=True, check=False)
    except OSError as error:
        raise BenchmarkError(f"{chosen}: {error.strerror}") from None
    if done.returncode == 0:
        return chosen
    if python is not None:
        raise BenchmarkError(f"{python} cannot import torch: pip install torch there")
    print("no PyTorch here (pip install torch, or --peer-python): only our own times are taken")
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cpu.py", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(SECTIONS), metavar="NAME", help=", ".join(SECTIONS))
    parser.add_argument("--net", action="append", choices=NETS, metavar="NAME", help=f"of {', '.join(NETS)}")
    parser.add_argument("--batch", action="append", type=int, metavar="N", help="instead of each section's own")
    parser.add_argument("--rounds", type=int, default=11, metavar="N", help="of all candidates in turn (11)")
    parser.add_argument("--block-ms", type=float, default=60, metavar="MS", help="of steps timed at a time (60)")
    parser.add_argument("--iterations", type=int, default=600, metavar="N", help="of `dragon train` (600)")
    parser.add_argument("--json", metavar="FILE", help="write every time of every round")
    parser.add_argument("--peer-python", metavar="PATH", help="an interpreter that has PyTorch")
    parser.add_argument("--no-peer", action="store_true", help="only our own times")
    parser.add_argument("--threads", type=int, metavar="N", help="of both sides; their own defaults otherwise")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu needs --threads 1")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--no-bf16", action="store_true", help="leave our bf16 out, for CPUs without")
    parser.add_argument("--engine", default="onednn", help="ours: onednn (default) or numpy")
    return parser


if __name__ == "__main__":
    sys.exit(main())
