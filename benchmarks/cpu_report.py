"""Tables of the CPU benchmarks, and comparison of the results with the targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchmarks._harness import table
from benchmarks.cpu_compare import OURS, PEER, Result

__all__ = ["report", "verdicts"]

# section, net, batch, ratio, minimum
TARGETS = (
    ("step", "cifar10_quick", 100, "fp32 / eager", 2.0),
    ("step", "cifar10_quick", 100, "fp32 / best fp32", 1.3),
    ("step", "cifar10_quick_bn_merged", 100, "fp32 / eager", 2.0),
    ("step", "cifar10_quick_bn_merged", 100, "fp32 / best fp32", 1.6),
    ("step", "cifar10_quick", 100, "bf16 / eager", 6.0),
    ("step", "cifar10_quick", 100, "bf16 / best bf16", 2.0),
    ("inference", "cifar10_quick", 1, "best / best", 3.0),
    ("program", "cifar10_quick", 100, "rate", 0.95),
)
_FLOOR = 1.2  # for training of any net, against the fastest form of PyTorch in the same precision


def report(section: str, results: Sequence[Result]) -> str:
    """The Markdown of one section."""
    return _REPORTS.get(section, _steps)(results)


def verdicts(sections: Mapping[str, Sequence[Result]]) -> list[str]:
    """One line for each target that was measured."""
    lines = []
    for section, net, batch, name, minimum in TARGETS:
        for result in sections.get(section, ()):
            if (result["net"], result["batch"]) == (net, batch) and name in result["ratios"]:
                got = result["ratios"][name]["median"]
                what = f"{section} {net} {result.get('precision', '')} batch {batch}: {name} {got:.2f}"
                lines.append(f"- {'met' if got >= minimum else 'MISSED'}: {what}, aim {minimum:g}")
    for result in sections.get("step", ()):
        for name in ("fp32 / best fp32", "bf16 / best bf16"):
            got = result["ratios"].get(name, {"median": _FLOOR})["median"]
            if got < _FLOOR:
                lines.append(f"- below {_FLOOR:g}: step {result['net']} batch {result['batch']}: {name} {got:.2f}")
    return lines


def _pair(ratio: Mapping[str, float] | None) -> str:
    return f"{ratio['median']:.2f} ({ratio['min']:.2f})" if ratio else ""


def _steps(results: Sequence[Result]) -> str:
    forms = [name for name in (*OURS, *PEER) if any(name in r["candidates"] for r in results)]
    ratios = list(dict.fromkeys(name for r in results for name in r["ratios"]))
    rows = [
        [
            r["net"], r["batch"],
            *(r["candidates"].get(name, {}).get("median_ms") for name in forms),
            *(_pair(r["ratios"].get(name)) for name in ratios),
        ]
        for r in results
    ]  # fmt: skip
    return table(["net", "batch", *(f"{name} ms" for name in forms), *ratios], rows)


def _threads(results: Sequence[Result]) -> str:
    rows = [
        [
            r["net"], name, r["candidates"][f"{name}: 1"]["median_ms"], r["candidates"][f"{name}: 2"]["median_ms"],
            _pair(r["ratios"][name]),
        ]
        for r in results
        for name in (*OURS, *PEER)
        if name in r["ratios"]
    ]  # fmt: skip
    return table(["net", "form", "1 thread ms", "2 threads ms", "speed-up"], rows)


def _winograd(results: Sequence[Result]) -> str:
    rows = [
        [
            r["net"], r["batch"], name, r["candidates"][f"{name}, direct"]["median_ms"],
            r["candidates"][name]["median_ms"], _pair(r["ratios"][name]),
        ]
        for r in results
        for name in r["ratios"]
    ]  # fmt: skip
    return table(["net", "batch", "form", "direct ms", "Winograd ms", "gain"], rows)


def _norms(results: Sequence[Result]) -> str:
    rows = [
        [*name.split(": "), facts["median_ms"], facts["min_ms"], f"{100 * r['ratios'][name]['share']:.0f} %"]
        for r in results
        for name, facts in r["candidates"].items()
    ]
    return table(["form", "net", "median ms", "min ms", "share of BN"], rows)


def _program(results: Sequence[Result]) -> str:
    rows = [
        [
            r["precision"], *(r["images_per_second"][key] for key in ("bare step", "whole program")),
            _pair(r["ratios"]["rate"]), r["candidates"]["start-up"]["median_ms"] / 1e3,
        ]
        for r in results
    ]  # fmt: skip
    return table(["precision", "bare step images/s", "dragon train images/s", "rate", "start-up s"], rows)


def _start(results: Sequence[Result]) -> str:
    rows = [
        [r["net"], name, facts["seconds"], facts["peak_mb"]] for r in results for name, facts in r["candidates"].items()
    ]
    return table(["net", "form", "first step after s", "peak MB"], rows)


def _profile(results: Sequence[Result]) -> str:
    parts = []
    for r in results:
        rows = [
            [
                layer["layer"], layer["type"], layer["forward_ms"], layer["backward_ms"],
                layer.get("forward_gflops"), layer.get("backward_gflops"), layer["note"],
            ]
            for layer in r["layers"]
        ]  # fmt: skip
        header = ["layer", "type", "forward ms", "backward ms", "GFLOP/s", "GFLOP/s back", "ran"]
        parts.append(
            f"### {r['net']}, {r['precision']}, batch {r['batch']}\n\n"
            f"{r['total_ms']:.3g} ms, of which BN {100 * r['share_of_bn']:.0f} %; "
            f"a large matrix product reaches {r['peak_gflops']:.0f} GFLOP/s, "
            f"at which the multiply-adds alone take {r['floor_ms']:.3g} ms\n\n{table(header, rows)}"
        )
    return "\n\n".join(parts)


def _busy(results: Sequence[Result]) -> str:
    names = list(dict.fromkeys(name for r in results for name in r["candidates"]))
    rows = [
        [
            r["net"], r["mode"], r["batch"], r["hogs"], *(r["candidates"].get(n, {}).get("median_ms") for n in names),
            *(_pair(r["ratios"].get(n)) for n in names[1:]),
        ]
        for r in results
    ]  # fmt: skip
    head = [
        "net",
        "mode",
        "batch",
        "other programs",
        *(f"{n} ms" for n in names),
        *(f"{n} / chosen" for n in names[1:]),
    ]
    return table(head, rows)


_REPORTS: dict[str, Callable[[Sequence[Result]], str]] = {
    "threads": _threads, "bn": _norms, "program": _program, "start": _start, "profile": _profile,
    "winograd": _winograd, "busy": _busy,
}  # fmt: skip
