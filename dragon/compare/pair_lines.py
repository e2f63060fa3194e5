"""What a comparison of two variants that should compute the same found, as sentences."""

from __future__ import annotations

from typing import Any

from dragon.compare.wording import level_text
from dragon.counting import how_many

__all__ = ["levels_of", "pair_lines"]

Record = dict[str, Any]


def pair_lines(results: Record) -> list[str]:
    """Sentences on each pair: how equal the two are, which is faster, and how long their losses agree."""
    lines = []
    for pair in results.get("pairs") or []:
        if not pair.get("settings"):
            continue
        first, second, setting = pair["first"], pair["second"], pair["settings"][0]
        d, t = setting["differences"], setting["times"]["both"]
        worst = max((d[k] for k in d if k != "by_parameter" and d[k]), key=lambda e: e["difference"] / (e["of"] or 1))
        faster, ratio = (second, t["ratio"]) if t["ratio"] <= 1 else (first, 1 / t["ratio"])
        slower = first if faster == second else second
        if pair.get("own_start"):
            lines.append(
                f"{first} and {second} name different fillers and start apart in {', '.join(pair['own_start'])}."
            )
        lines.append(
            f"{second} against {first}, same weights and batch: {_difference(worst)}; "
            f"a step of {faster} takes {ratio:.2f} x that of {slower}."
        )
        rows = pair.get("coincide") or []
        for levels in dict.fromkeys(levels_of(row) for row in rows):
            some = [row for row in rows if levels_of(row) == levels]
            lines.append(f"Training{f' at {levels}' if levels else ''}: their losses agree {_agreement(some)}.")
    return lines


def levels_of(row: Record) -> str:
    """The levels of the factors at which two trainings were compared, such as `base_lr 0.01`."""
    levels = row.get("levels")
    if levels is None:
        levels = {"base_lr": row["base_lr"]} if "base_lr" in row else {}
    return ", ".join(f"{name} {level_text(value)}" for name, value in levels.items())


def _agreement(rows: list[Record]) -> str:
    """For how long the losses of a pair agree, over the seeds, up to the first tolerance that holds to the end."""
    total = rows[0]["of"]
    parts: list[str] = []
    for tolerance in rows[0]["within"]:
        values = [row["within"][tolerance] for row in rows]
        if min(values) == total:
            return ", ".join([*parts, f"to {tolerance} for all {how_many(total, 'iteration')}"])
        parts.append(f"to {tolerance} for {_span(values)}")
    return ", ".join(parts) + f" of {how_many(total, 'iteration')}"


def _difference(worst: Record) -> str:
    if not worst["difference"]:
        return "outputs and gradients are equal bit for bit"
    share = worst["difference"] / (worst["of"] or 1)
    return f"no output or gradient differs by more than {share:.1e} of the largest value"


def _span(values: list[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,}-{high:,}"
