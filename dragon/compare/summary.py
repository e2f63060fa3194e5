"""The main table of a comparison, for terminal and page: one row for each variant and learning rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dragon.compare.wording import is_percent

__all__ = ["Score", "headline", "pair_lines", "score_name", "score_of", "text_table"]

Record = dict[str, Any]


@dataclass(frozen=True)
class Score:
    """A mean over `n` seeds with half the width of its interval; mean None: no score."""

    mean: float | None
    half: float
    n: int

    def text(self, percent: bool) -> str:
        """The score for readers, such as `71.25 % ± 0.40`; `-` for none. percent: the score is a share of 1."""
        if self.mean is None:
            return "-"
        if percent:
            return f"{100 * self.mean:.2f} %" + (f" ± {100 * self.half:.2f}" if self.n > 1 else "")
        return f"{self.mean:.4f}" + (f" ± {self.half:.4f}" if self.n > 1 else "")


@dataclass(frozen=True)
class Row:
    """One variant at one learning rate."""

    variant: str
    base_lr: float
    by_global: Score
    by_batch: Score
    loss: Score
    ms: float | None
    images_per_s: float | None
    memory_mib: float | None
    diverged: int
    seeds: int


def score_name(results: Record) -> str:
    """The output that is charted: an accuracy if there is one."""
    names = [key.split("/", 1)[1] for group in results["groups"] for key in group["final"]]
    return next((name for name in names if "acc" in name.lower()), names[0] if names else "score")


def headline(results: Record) -> list[Row]:
    """The rows of the main table, in the order of the file."""
    name = score_name(results)
    rows = []
    for group in results["groups"]:
        memory = results["memory"].get(group["variant"]) or {}
        rows.append(
            Row(
                group["variant"],
                group["base_lr"],
                score_of(group["final"].get(f"global/{name}")),
                score_of(group["final"].get(f"batch/{name}")),
                score_of(group["final_loss"]),
                group["ms_per_iteration"],
                group["images_per_s"],
                memory.get("process_mib"),
                len(group["diverged"]),
                len(group["seeds"]),
            )
        )
    return rows


def score_of(entry: Record | None) -> Score:
    """The Score of a group's entry in results.json; one without a mean for None."""
    if entry is None:
        return Score(None, 0.0, 0)
    return Score(entry["mean"], (entry["high"] - entry["low"]) / 2, entry["n"])


def pair_lines(results: Record) -> list[str]:
    """Sentences on each pair: how equal the two are, which is faster, and how long their losses agree."""
    lines = []
    for pair in results["pairs"]:
        first, second, setting = pair["first"], pair["second"], pair["settings"][0]
        d, t = setting["differences"], setting["times"]["both"]
        worst = max((d[k] for k in d if k != "by_parameter" and d[k]), key=lambda e: e["difference"] / (e["of"] or 1))
        faster, ratio = (second, t["ratio"]) if t["ratio"] <= 1 else (first, 1 / t["ratio"])
        slower = first if faster == second else second
        lines.append(
            f"{second} against {first}, same weights and batch: {_difference(worst)}; "
            f"a step of {faster} takes {ratio:.2f} x that of {slower}."
        )
        for base_lr in dict.fromkeys(row["base_lr"] for row in pair["coincide"]):
            rows = [row for row in pair["coincide"] if row["base_lr"] == base_lr]
            lines.append(f"Training at {base_lr:g}: their losses agree {_agreement(rows)}.")
    return lines


def _agreement(rows: list[Record]) -> str:
    """For how long the losses of a pair agree, over the seeds, up to the first tolerance that holds to the end."""
    total = rows[0]["of"]
    parts: list[str] = []
    for tolerance in rows[0]["within"]:
        values = [row["within"][tolerance] for row in rows]
        if min(values) == total:
            return ", ".join([*parts, f"to {tolerance} for all {total:,} iterations"])
        parts.append(f"to {tolerance} for {_span(values)}")
    return ", ".join(parts) + f" of {total:,} iterations"


def _difference(worst: Record) -> str:
    if not worst["difference"]:
        return "outputs and gradients are equal bit for bit"
    share = worst["difference"] / (worst["of"] or 1)
    return f"no output or gradient differs by more than {share:.1e} of the largest value"


def _span(values: list[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,}-{high:,}"


def text_table(results: Record) -> str:
    """The main table as lines of text."""
    name = score_name(results)
    percent = is_percent(name)
    table = [["variant", "rate", name, "by batch statistics", "train loss", "ms/iteration", "MiB"]]
    for row in headline(results):
        note = f" ({row.diverged} of {row.seeds} diverged)" if row.diverged else ""
        table.append(
            [
                row.variant + note, f"{row.base_lr:g}", row.by_global.text(percent), row.by_batch.text(percent),
                row.loss.text(False), "-" if row.ms is None else f"{row.ms:.1f}",
                "-" if row.memory_mib is None else f"{row.memory_mib:.0f}",
            ]
        )  # fmt: skip
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    return "\n".join(
        "  ".join(cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True)))
        for line in table
    )
