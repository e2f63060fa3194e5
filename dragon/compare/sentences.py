"""A contrast as one or two sentences of plain English."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dragon.compare.expectation import UNDECIDED
from dragon.compare.wording import absolute, difference, figure, is_share, selection
from dragon.counting import how_many

__all__ = ["DIVERGED", "ENDS", "NEVER", "STOPPED", "Sides", "sentence"]

DIVERGED, STOPPED, NEVER = ENDS = ("Diverged", "Stopped at chance", "Never got there")


@dataclass(frozen=True)
class Sides:
    """What a sentence needs besides the record of a contrast.

    ended: one of ENDS, how many runs did so, of how many, and of which selection. why: why there is no estimate, if so.
    nothing_learned: both sides are equal, since all their runs diverged, or never got to a score. imputed: the side
    whose runs all diverged, where the verdict would be that of the figures put in for them. lost: sides of which runs
    diverged and have no figure, where the verdict would be that of the others.
    """

    metric: str
    metrics: Mapping[str, Mapping[str, Any]]
    ended: Sequence[tuple[str, int, int, str]] = ()
    why: str = ""
    nothing_learned: bool = False
    imputed: str = ""
    lost: str = ""


def sentence(contrast: Mapping[str, Any], sides: Sides) -> str:
    """What a contrast found, with its interval and what limits it."""
    return " ".join([_found(contrast, sides), *_limits(contrast, sides)])


def _found(c: Mapping[str, Any], sides: Sides) -> str:
    metric = sides.metric
    of, against = selection(c["of"]), selection(c["against"]) if c["against"] else ""
    name = metric.replace("_", " ")
    if c["mean"] is None:
        return f"The {name} of {of}" + (f" against {against}" if against else "") + f" gives no figure: {sides.why}."
    share = is_share(metric, sides.metrics)
    interval = _interval(c, share)
    if c["scale"] == "sd_ratio":
        return (
            f"The {name} of {of} spreads {figure(c['mean'])} times as much over seeds as that of {against}{interval}."
        )
    value = absolute(c["of_mean"], share)
    lead = f"{of} reached {value}" if metric == "accuracy" else f"The {name} of {of} is {value}"
    if not against:
        return f"{lead}{interval}."
    other = absolute(c["against_mean"], share)
    # the table has arithmetic means, whose quotient is another than the mean of the seeds' ratios
    means = " (geometric means)" if c["scale"] == "ratio" and c["n"] > 1 and not c["deterministic"] else ""
    return f"{lead} against {other} for {against}{means}: {_effect(c, share)}{interval}."


def _effect(c: Mapping[str, Any], share: bool) -> str:
    mean = float(c["mean"])
    if c["scale"] == "ratio":
        return f"{figure(mean)} times as much"
    if not mean:
        return "no difference"
    return difference(mean, share) + (" points" if share else "") + (" more" if mean > 0 else " less")


def _interval(c: Mapping[str, Any], share: bool) -> str:
    """The interval and the number of seeds in brackets, with a sign like the effect's: `4.8 to 7.0` more or less."""
    if c["deterministic"]:
        return " (seeds play no part)"
    seeds = how_many(c["n"], "seed")
    if c["t"] is None:
        return f" ({seeds})"
    low, high = c["t"]
    if c["scale"] != "difference":
        return f" (95 % interval {figure(low)} to {figure(high)}, {seeds})"
    if c["against"] is None:
        return f" (95 % interval {absolute(low, share)} to {absolute(high, share)}, {seeds})"
    if c["mean"] < 0:
        low, high = -high, -low
    return f" (95 % interval {_signed(low, share)} to {_signed(high, share)}, {seeds})"


def _signed(value: float, share: bool) -> str:
    text = difference(value, share)
    return f"-{text}" if value < 0 and text.strip("0.") else text


def _limits(c: Mapping[str, Any], sides: Sides) -> list[str]:
    lines = [f"{how}: {k} of {how_many(n, 'run')} of {name}." for how, k, n, name in sides.ended]
    if c["mean"] is not None and c["missing"] and not c["deterministic"]:
        lines.append(f"Without a value: {how_many(c['missing'], 'seed')}.")
    if sides.nothing_learned:
        return [*lines, "That both sides are equal says nothing."]
    if sides.lost:
        return [*lines, f"Without the runs of {sides.lost} that diverged the others decide nothing."]
    if sides.imputed:
        return [*lines, f"The figures that stand in for the runs of {sides.imputed} decide nothing."]
    if c["verdict"] == UNDECIDED and not c["deterministic"] and c["mean"] is not None:
        if c["t"] is None or c["n"] < 3:
            lines.append(f"{how_many(c['n'], 'seed').capitalize()} cannot decide it: three are the least.")
        elif c.get("seeds_for"):
            seeds, power = how_many(c["seeds_for"]["n"], "seed"), absolute(c["seeds_for"]["power"], True, 0)
            lines.append(f"About {seeds} would decide it in {power} of cases, if mean and spread are as found.")
    return lines
