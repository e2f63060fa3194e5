"""Measures deployed nets of the zoo against OpenVINO, ONNX Runtime, OpenCV and MNN: `python -m benchmarks.deployed -h`.

All libraries start from the same net and random weights; the others read the ONNX file that Dragon writes. Each
runs in a process of its own, so that its memory and its time to the first scores are its own.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from benchmarks._harness import (
    BenchmarkError,
    Candidate,
    Worker,
    check_clock,
    exit_status,
    interleave,
    machine,
    ratio,
    table,
)
from benchmarks.deployed_peers import LIBRARIES
from dragon.errors import DragonError
from dragon.files.atomic import write_atomically

__all__ = ["NETS", "layers", "main", "measure"]

NETS = ("squeezenet_v1.1", "mobilenet_v1", "googlenet", "resnet50", "densenet121", "inception_v3")
OURS, OTHER, COUNTED = "Dragon", "other oneDNN", "OpenVINO"
_COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}  # modules are compiled once, as where packages are installed
_TOLERANCE = {"fp32": 1e-3, "bf16": 0.05, "int8": 0.2}  # of the scores from ours in float32, relative to the largest
_OWN = {f"Dragon {precision}": precision for precision in _TOLERANCE}  # beside OURS, in other precisions
_MORE = 3  # times our own rounding: so much another library's may be in bf16, which random weights make large
Result = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the chosen nets; 2 for a measurement that cannot be made."""
    options = _parser().parse_args(arguments)
    return exit_status("deployed.py", lambda: _run(options), DragonError)


def _run(options: argparse.Namespace) -> None:
    check_clock(options.clock, options.threads)
    if options.precision != "fp32" and set(options.peer or ()) - {COUNTED}:
        raise BenchmarkError("OpenCV, ONNX Runtime and MNN are measured in fp32")
    if options.precision == "int8" and not options.no_peer:
        raise BenchmarkError("int8 is measured of ours alone: give --no-peer, and --own fp32 to compare")
    peers = [] if options.no_peer else _installed(options.peer or ([COUNTED] if options.precision != "fp32" else None))
    record: dict[str, Any] = {"command": " ".join(sys.argv), "machine": machine(), "results": []}
    print(json.dumps(record["machine"], indent=1))
    with tempfile.TemporaryDirectory() as folder, Worker("benchmarks.deployed_files") as writer:
        record["versions"] = {name: _facts(name) for name in (OURS, *peers)}
        print(json.dumps(record["versions"], indent=1))
        for net in options.net or NETS:
            writer.ask("weights", net=net, folder=folder, size=options.size)
            for batch in options.batch or (1, 16):
                writer.ask("write", net=net, batch=batch, folder=folder, size=options.size)
                if options.layers:
                    print(f"\n### {net}, batch {batch}\n\n{layers(folder, options)}", flush=True)
                    continue
                result = measure(folder, peers, options) | {"net": net, "batch": batch}
                record["results"].append(result)
                for note in result["notes"]:
                    print(f"note: {net}, batch {batch}: {note}")
                print(f"{net}, batch {batch}: done", file=sys.stderr, flush=True)
    record["machine"]["load_at_end"] = machine()["load"]
    if record["results"]:
        print(f"\n{report(record['results'])}\n\nload at the end: {record['machine']['load_at_end']}")
    if options.json:
        write_atomically(options.json, json.dumps(record, indent=1).encode())


def _installed(wanted: Sequence[str] | None) -> list[str]:
    """The peers that can be imported, or of these the wanted. BenchmarkError for a wanted one that cannot."""
    found = [name for name, module in LIBRARIES.items() if importlib.util.find_spec(module) is not None]
    for name in wanted or ():
        if name not in found:
            raise BenchmarkError(f"{name} is not installed")
    return [name for name in found if wanted is None or name in wanted]


def _facts(name: str) -> dict[str, Any]:
    """Versions of a library. Python compiles its modules meanwhile: that is no part of the time to first scores."""
    module, settings = _module(name), {} if name == OURS else {"library": name}
    with Worker(module, env=_COMPILED) as worker:
        found: dict[str, Any] = worker.ask("facts", **settings)
    return found


def _module(name: str) -> str:
    return "benchmarks.deployed_ours" if name in (OURS, OTHER, *_OWN) else "benchmarks.deployed_peers"


def _settings(name: str, folder: str, options: argparse.Namespace) -> dict[str, Any]:
    """The settings of a library's candidate."""
    own = {"library": name} if name in LIBRARIES else {"engine": options.engine}
    return {"folder": folder, "threads": options.threads, "precision": _OWN.get(name, options.precision), **own}


def measure(folder: str, peers: Sequence[str], options: argparse.Namespace) -> Result:
    """Time to the first scores and memory of each library by itself, then all of them in turn."""
    result: Result = {"candidates": {}, "ratios": {}, "notes": []}
    own = [name for name, precision in _OWN.items() if precision in (options.own or ())]
    names = [OURS, *([OTHER] if options.onednn else []), *own, *peers]
    if "int8" in (options.precision, *(options.own or ())):
        with Worker(_module(OURS)) as worker:
            worker.ask("ranges", folder=folder)
    starts: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for k in range(options.starts - 1):
        for name in names if k % 2 == 0 else reversed(names):
            with ExitStack() as stack:
                starts[name].append(_start(name, folder, options, stack)[1])
    expected = _exact(folder, options) if options.precision != "fp32" else None
    limit = _TOLERANCE[options.precision]
    errors: dict[str, float] = {}
    with ExitStack() as stack:
        candidates: list[Candidate] = []
        for name in names:
            worker, first, scores = _start(name, folder, options, stack)
            starts[name].append(first)
            expected = scores if expected is None else expected
            errors[name] = _difference(scores, expected)
            if name == OURS:
                limit = max(limit, _MORE * errors[name])
            elif not errors[name] <= limit:
                result["notes"].append(f"{name} left out: its scores differ by {errors[name]:.2g} of the largest")
                continue
            candidates.append(Candidate(name, worker, clock=options.clock))
        series = interleave(candidates, options.rounds, options.block_ms) if options.rounds else {}
    for candidate in candidates:
        name, runs = candidate.name, starts[candidate.name]
        passes = series[name].facts() if series else {}
        result["candidates"][name] = passes | {key: min(run[key] for run in runs) for key in runs[0]}
        if options.precision != "fp32":
            result["candidates"][name]["error"] = errors[name]
        if name != OURS and series:
            median, minimum = ratio(series[name], series[OURS])
            result["ratios"][name] = {"median": round(median, 3), "min": round(minimum, 3)}
    return result


def _start(
    name: str, folder: str, options: argparse.Namespace, stack: ExitStack
) -> tuple[Worker, dict[str, float], Sequence[float]]:
    """A new process that has made its net: the worker, its time to the first scores with its memory, the scores."""
    environment = _COMPILED | {"OMP_NUM_THREADS": str(options.threads), "OPENBLAS_NUM_THREADS": "1"}
    library = {"ONEDNN_LIBRARY": options.onednn} if name == OTHER else {}
    begin = time.perf_counter()
    worker = stack.enter_context(Worker(_module(name), env=environment | library))
    worker.ask("make", candidate=name, **_settings(name, folder, options))
    scores = worker.ask("answer")
    seconds = worker.ask("cpu") if options.clock == "cpu" else time.perf_counter() - begin
    return worker, {"first_s": seconds, "peak_mb": worker.ask("peak") / 2**20}, scores


def _exact(folder: str, options: argparse.Namespace) -> Sequence[float]:
    """Our scores in float32."""
    with Worker(_module(OURS)) as worker:
        worker.ask("make", candidate=OURS, **_settings(OURS, folder, options) | {"precision": "fp32"})
        scores: Sequence[float] = worker.ask("answer")
    return scores


def _difference(scores: Sequence[float], expected: Sequence[float]) -> float:
    """The largest difference, relative to the largest score; NaN if one is not finite."""
    return max(abs(a - b) for a, b in zip(scores, expected, strict=True)) / max(map(abs, expected))


def report(results: Sequence[Result]) -> str:
    """Tables: times with ratios, where passes were timed, then first scores and memory, and the rounding of bf16."""
    names = list(dict.fromkeys(name for r in results for name in r["candidates"]))
    others = [name for name in names if name != OURS]
    rows = [
        [
            r["net"], r["batch"], *(r["candidates"].get(name, {}).get("min_ms") for name in names),
            *(_pair(r["ratios"].get(name)) for name in others),
        ]
        for r in results
    ]  # fmt: skip
    head = ["net", "batch", *(f"{name} ms" for name in names), *(f"{name} / {OURS}" for name in others)]
    timed = any("min_ms" in found for r in results for found in r["candidates"].values())
    begun = [
        [
            r["net"], r["batch"], *(r["candidates"].get(name, {}).get("first_s") for name in names),
            *(r["candidates"].get(name, {}).get("peak_mb") for name in names),
        ]
        for r in results
    ]  # fmt: skip
    head_begun = ["net", "batch", *(f"{name} s" for name in names), *(f"{name} MB" for name in names)]
    tables = [*([table(head, rows)] if timed else []), table(head_begun, begun)]
    if any("error" in found for r in results for found in r["candidates"].values()):
        rounding = [
            [r["net"], r["batch"], *(r["candidates"].get(name, {}).get("error") for name in names)] for r in results
        ]
        tables.append(table(["net", "batch", *(f"{name} error" for name in names)], rounding))
    return "\n\n".join(tables)


def _pair(found: Mapping[str, float] | None) -> str:
    return f"{found['median']:.2f} ({found['min']:.2f})" if found else ""


def layers(folder: str, options: argparse.Namespace) -> str:
    """Our time by layer beside OpenVINO's counters; the least of the rounds."""
    found = {}
    for name in (OURS, COUNTED):
        env = {"OMP_NUM_THREADS": str(options.threads), "DRAGON_BENCHMARK_COUNTERS": "1"}
        with Worker(_module(name), env=env) as worker:
            worker.ask("make", candidate=name, **_settings(name, folder, options))
            found[name] = worker.ask("profile", iterations=options.rounds)
    rows = _beside(found[OURS], [one for one in found[COUNTED] if one["ms"]])
    rows.append(["total", "", *(sum(row[k] or 0.0 for row in rows) for k in (2, 3)), "", ""])
    return table(["layer", "type", "ours ms", "OpenVINO ms", "ours ran", "OpenVINO ran"], rows)


def _beside(ours: Sequence[Result], theirs: Sequence[Result]) -> list[list[Any]]:
    """A row for each of our groups of layers, with the sum of OpenVINO's operations of the same names, then the others.

    OpenVINO names a convolution with a bias NAME/WithoutBiases.
    """
    rows: list[list[Any]] = []
    owner: dict[str, list[Any]] = {}  # by the names of its layers
    for one in ours:
        rows.append([one["layer"], one["type"], one["ms"], None, one["how"], ""])
        owner |= dict.fromkeys(one["names"], rows[-1])
    for one in theirs:
        row = owner.get(one["layer"].removesuffix("/WithoutBiases"))
        if row is None:
            rows.append(row := [one["layer"], one["type"], None, None, "", ""])
        row[3] = (row[3] or 0.0) + one["ms"]
        row[5] = f"{row[5]} {one['how']}".strip()
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="deployed.py", description=__doc__)
    parser.add_argument("--net", action="append", metavar="NAME", help=f"of the zoo; by default {', '.join(NETS)}")
    parser.add_argument("--batch", action="append", type=int, metavar="N", help="by default 1 and 16")
    parser.add_argument("--peer", action="append", choices=list(LIBRARIES), metavar="NAME", help=", ".join(LIBRARIES))
    parser.add_argument("--rounds", type=int, default=11, metavar="N", help="of all libraries in turn (11); 0: none")
    parser.add_argument("--starts", type=int, default=1, metavar="N", help="processes of each; the least counts (1)")
    parser.add_argument("--block-ms", type=float, default=60, metavar="MS", help="of passes timed at a time (60)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of each library (1)")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu needs --threads 1")
    parser.add_argument(
        "--precision", choices=tuple(_TOLERANCE), default="fp32", help="bf16: ours and OpenVINO only; int8: ours"
    )
    parser.add_argument("--own", action="append", choices=tuple(_TOLERANCE), help="our times in this precision too")
    parser.add_argument("--layers", action="store_true", help="times by layer beside OpenVINO's counters")
    parser.add_argument("--size", type=int, metavar="N", help="height and width of images, for quick trials")
    parser.add_argument("--json", metavar="FILE", help="write every time of every round")
    parser.add_argument("--onednn", metavar="FILE", help="our times with another libdnnl.so.3 too")
    parser.add_argument("--no-peer", action="store_true", help="only our own times")
    parser.add_argument("--engine", default="onednn", help="ours: onednn (default) or numpy")
    return parser


if __name__ == "__main__":
    sys.exit(main())
