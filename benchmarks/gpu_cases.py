"""What the GPU benchmarks compare: nets, Dragon's precisions, PyTorch's forms, and the aims of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks._harness import Series, ratio

__all__ = ["OURS", "PEERS", "Case", "Form", "aims"]

# name -> precision, TF32
OURS = {"dragon": ("fp32", False), "dragon, tf32": ("fp32", True), "dragon, bf16": ("bf16", False)}


@dataclass(frozen=True)
class Form:
    """How PyTorch runs; bf16 by autocast. graph: the whole step as one CUDA graph."""

    precision: str = "fp32"
    channels_last: bool = False
    compiled: bool = False
    graph: bool = False


def _forms() -> dict[str, Form]:
    forms = {}
    for precision in ("bf16", "tf32", "fp32"):  # the quickest first
        for compiled, graph in ((False, False), (False, True), (True, True), (True, False)):
            for channels_last in (True,) if precision == "bf16" or compiled else (False, True):
                words = ["compiled"] if compiled else []
                words += ["graph"] if graph else [] if compiled else ["eager"]
                words += ["channels_last"] if channels_last else []
                suffix = "" if precision == "fp32" else f", {precision}"
                forms[f"torch {' '.join(words)}{suffix}"] = Form(precision, channels_last, compiled, graph)
    return forms


PEERS = _forms()


@dataclass(frozen=True)
class Case:
    """A net at a batch size; `size`: height and width instead of those of the model, for quick trials."""

    net: str
    batch: int
    size: int | None = None

    def __str__(self) -> str:
        return f"{self.net} at batch {self.batch}"


def aims(case: Case, series: Mapping[str, Series]) -> list[str]:
    """A line for each target of a case, with what was reached; none for what has no peer."""
    found = {name: one for name, one in series.items() if name in PEERS}
    mine = {name: one for name, one in series.items() if name in OURS}
    if not found or not mine:
        return []
    lines = []
    if case.net == "resnet50":
        for name, one in mine.items():
            precision = name.partition(", ")[2] or "fp32"
            peer = _best({n: s for n, s in found.items() if PEERS[n].precision == precision})
            if peer:
                lines.append(_aim(f"{case}: {name} over {peer}, the best peer", found[peer], one, 0.95))
        return lines
    if "torch eager" in found and "dragon" in mine:
        lines.append(_aim(f"{case}: over eager, both in float32", found["torch eager"], mine["dragon"], 1.5))
    ours = _best(mine)
    for what, wanted, chosen in (
        ("compiled", 1.3, {n: s for n, s in found.items() if PEERS[n].compiled and not PEERS[n].graph}),
        ("whole-step graph", 1.0, {n: s for n, s in found.items() if PEERS[n].graph}),
    ):
        peer = _best(chosen)
        if peer:
            lines.append(_aim(f"{case}: {ours} over {peer}, the best {what}", found[peer], mine[ours], wanted))
    return lines


def _best(series: Mapping[str, Series]) -> str:
    return min(series, key=lambda name: series[name].median, default="")


def _aim(what: str, peer: Series, mine: Series, wanted: float) -> str:
    reached = ratio(peer, mine)[0]
    return f"{'reached' if reached >= wanted else 'MISSED'}: {what}: {reached:.2f} x, aim {wanted} x"
