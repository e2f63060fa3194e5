"""The report of the GPU benchmarks: lines for the screen and gpu.md, facts for gpu.json, written after each of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks._harness import ratio, table
from benchmarks.gpu_cases import Case, aims
from benchmarks.gpu_training import Measured

__all__ = ["Report", "add_kernels", "add_training"]

OF_COPY = 0.85  # aim: bytes per second of batch normalisation over those of a copy
KERNELS = 25  # of a profile, in gpu.md; gpu.json has all


@dataclass
class Report:
    """Lines and facts. folder: where gpu.md and gpu.json are kept up to date; None for nowhere."""

    folder: str | None = None
    lines: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def say(self, line: str) -> None:
        """Print a line and keep it for gpu.md."""
        print(line, flush=True)
        self.lines.append(line)
        self.save()

    def save(self) -> None:
        """Write what there is, so that a run that is ended keeps it. Does nothing before the first measurement."""
        if self.folder is None or ("missing" not in self.facts and "planned" not in self.facts):
            return
        from dragon.files.atomic import write_atomically

        target = Path(self.folder)
        target.mkdir(parents=True, exist_ok=True)
        write_atomically(str(target / "gpu.md"), ("\n\n".join(self.lines) + "\n").encode())
        write_atomically(str(target / "gpu.json"), json.dumps(self.facts, indent=1).encode())


def add_training(report: Report, case: Case, measured: Measured) -> None:
    """Add a case: a table, its aims, kernels where they were asked for, and all facts."""
    first = next(iter(measured.wall.values()))
    rows: list[Sequence[object]] = []
    for name, one in measured.wall.items():
        gpu, peak = measured.gpu.get(name), measured.made[name]["peak_mib"]
        spread = f"{one.minimum:.3g} to {max(one.ms):.3g}"
        rows.append([case.net, case.batch, name, one.median, spread, gpu and gpu.median, ratio(one, first)[0], peak])
    head = ["net", "batch", "by", "ms per step", "rounds", "ms on the GPU", f"x {next(iter(measured.wall))}", "MiB"]
    reached = aims(case, measured.wall)
    report.facts.setdefault("training", []).append(
        {"net": case.net, "batch": case.batch, "series": measured.facts(), "profiles": measured.profiles}
    )
    report.facts.setdefault("aims", []).extend(reached)
    report.say(table(head, rows))
    for name, made in measured.made.items():
        whole = next((r for r in made.get("remarks", []) if r.startswith("whole iteration: ")), "")
        if "remarks" in made and whole != "whole iteration: graph":
            report.say(f"WRONG: {case}: {name}: {whole or 'there is no graph of an iteration'}")
    for line in reached:
        report.say(line)
    for name, kernels in measured.profiles.items():
        longest = [[us, count, kernel[:100]] for us, count, kernel in kernels[:KERNELS]]
        report.say(f"Kernels of one step of {case}, {name}:\n\n{table(['us', 'launches', 'kernel'], longest)}")


def add_kernels(report: Report, found: Sequence[dict[str, Any]]) -> None:
    """Add the table of the kernels of batch normalisation, and their aim."""
    rows = [
        ["x".join(map(str, f["shape"])), f["precision"], f["forward_of_copy"], f["backward_of_copy"],
         f["equal_copy_bytes_per_second"] / 1e12, f["forward_of_equal_copy"], f["backward_of_equal_copy"],
         f["split_over_merged"], f.get("forward_of_several"), f.get("backward_of_several")]
        for f in found
    ]  # fmt: skip
    head = ["shape", "precision", "forward / copy", "backward / copy", "equal copy TB/s", "forward / equal copy",
            "backward / equal copy", "split / merged", "forward / several launches",
            "backward / several launches"]  # fmt: skip
    report.say(table(head, rows))
    for f in found:
        reached = min(f["forward_of_equal_copy"], f["backward_of_equal_copy"])
        what = f"batch normalisation of {'x'.join(map(str, f['shape']))} in {f['precision']}, of the copy rate"
        line = f"{'reached' if reached >= OF_COPY else 'MISSED'}: {what}: {reached:.2f}, aim {OF_COPY}"
        report.facts.setdefault("aims", []).append(line)
        report.say(line)
