"""From the cells of an experiment to contrasts: estimates with intervals, a verdict, and a sentence for each.

A contrast is a dict as in the experiment file: `metric`, `of`, and optionally `against`, `scale` (see
dragon.compare.paired), `expect` (see dragon.compare.expectation), `name`, `primary` and `deterministic`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, geometric_mean
from typing import Any

from dragon.compare.expectation import AGREES, UNDECIDED, Expectation, parse_expectation
from dragon.compare.imputed import undecided_ends
from dragon.compare.paired import NEUTRAL, POWER, Estimate, check_scale, estimate, seeds_to_see
from dragon.compare.sentences import DIVERGED, ENDS, NEVER, STOPPED, Sides, sentence
from dragon.compare.wording import selection
from dragon.errors import UsageError, nearest

__all__ = ["MIN_SEEDS", "check_contrast", "conclude", "evaluate_contrasts", "holm", "primary_of", "select"]

Record = dict[str, Any]

MIN_SEEDS = 3  # fewer decide nothing


@dataclass(frozen=True)
class _Side:
    """The values of one side by seed (means over the selected cells), of how many seeds and runs.

    ended: how many of the runs diverged, were stopped, or did not get to a score and count with their whole length.
    imputed: whether all diverged or gave NaN, and count with figures put in for them. lost: whether one diverged and
    has no figure.
    """

    values: dict[int, float]
    seeds: int
    runs: int
    ended: Mapping[str, int]
    imputed: bool
    lost: bool


def check_contrast(contrast: Mapping[str, Any]) -> Expectation | None:
    """The expectation of a contrast; None if it states none. Raises UsageError for a wrong scale or expectation."""
    scale = contrast.get("scale") or "difference"
    check_scale(scale)
    if scale != "difference" and not contrast.get("against"):
        raise UsageError(f'scale "{scale}" needs "against"')
    text = contrast.get("expect")
    if text is None:
        return None
    expectation = parse_expectation(text, NEUTRAL[scale])
    if scale != "difference" and (expectation.low if math.isinf(expectation.high) else expectation.high) <= 0:
        meant = f"{expectation.text[0]} 1" if expectation.text[0] in "<>" else "within 0.05"
        raise UsageError(
            f'"expect": a ratio is always above 0, and 1 is no difference: "{meant}", not "{expectation.text}"'
        )
    return expectation


def select(entries: Sequence[Record], of: Mapping[str, Any]) -> list[Record]:
    """The cells, or factor metrics, that a dictionary `of` selects. Raises UsageError when there is none."""
    variants = [str(entry["variant"]) for entry in entries]
    if "variant" in of and str(of["variant"]) not in variants:
        raise UsageError(f'no variant "{of["variant"]}"{nearest(str(of["variant"]), variants)}')
    levels = dict.fromkeys(name for entry in entries for name in entry.get("levels") or {})
    for name in of:
        if name != "variant" and name not in levels:
            raise UsageError(
                f'no factor "{name}"{nearest(str(name), levels)}; there are: {", ".join(levels) or "none"}'
            )
    found = [entry for entry in entries if all(_matches(entry, name, value) for name, value in of.items())]
    if not found:
        raise UsageError(f"no run is of {selection(of)}")
    return found


def _matches(entry: Record, name: str, value: Any) -> bool:
    given = entry["variant"] if name == "variant" else (entry.get("levels") or {}).get(name)
    if isinstance(given, (int, float)) and isinstance(value, (int, float)):
        return math.isclose(given, value, rel_tol=1e-9)
    return str(given) == str(value)


def evaluate_contrasts(
    contrasts: Sequence[Mapping[str, Any]],
    cells: Sequence[Record],
    factor_metrics: Sequence[Record] = (),
    metrics: Mapping[str, Mapping[str, Any]] | None = None,
    worse: Mapping[str, int] | None = None,
) -> list[Record]:
    """All contrasts as in results.json. metrics: the definitions, which tell what is a share of 1.

    worse: where worse runs have a metric, by its name (see dragon.compare.imputed.worse_sign); 0 for others.

    Runs pair by seed; a dictionary that selects several cells stands for their mean, seed by seed. Holm's correction
    is over the contrasts that are not primary and can be decided: one of too few seeds, or of runs without a figure of
    their own, claims nothing whatever its p. Raises UsageError for a selection or metric that does not exist.
    """
    judged = [_evaluate(contrast, cells, factor_metrics, metrics or {}, worse or {}) for contrast in contrasts]
    found = [record for record, _ in judged]
    others = [(record, record["p"] if can_claim else None) for record, can_claim in judged if not record["primary"]]
    for (record, _), corrected in zip(others, holm([p for _, p in others]), strict=True):
        record["p_holm"] = corrected
        if record["verdict"] == AGREES and corrected is not None and corrected >= 0.05:
            record["sentence"] += f" With Holm's correction p is {corrected:.2f}: on its own it does not count."
    return found


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """p-values after Holm's step-down correction for several tests; None stays None and does not count."""
    known = sorted((p, k) for k, p in enumerate(ps) if p is not None)
    result: list[float | None] = [None] * len(ps)
    largest = 0.0
    for rank, (p, k) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        result[k] = largest
    return result


def _evaluate(
    contrast: Mapping[str, Any],
    cells: Sequence[Record],
    factor_metrics: Sequence[Record],
    metrics: Mapping[str, Mapping[str, Any]],
    worse: Mapping[str, int],
) -> tuple[Record, bool]:
    """The record of a contrast, and whether its data could decide it, by as many seeds and runs as that takes."""
    expectation = check_contrast(contrast)
    metric, scale = str(contrast["metric"]), contrast.get("scale") or "difference"
    deterministic = bool(contrast.get("deterministic"))
    of, against = dict(contrast["of"]), dict(contrast["against"]) if contrast.get("against") else None
    definition = metrics.get(metric, {})
    a = _side(metric, of, cells, factor_metrics, definition)
    b = _side(metric, against, cells, factor_metrics, definition) if against else None
    seeds = [seed for seed in a.values if b is None or seed in b.values]
    first = [a.values[seed] for seed in seeds]
    second = [b.values[seed] for seed in seeds] if b else None
    name = f"{metric}: {selection(of)}" + (f" against {selection(against)}" if against else "")
    record: Record = {
        "name": contrast.get("name") or name,
        "metric": metric, "of": of, "against": against, "scale": scale, "expect": contrast.get("expect"),
        "primary": bool(contrast.get("primary")), "deterministic": deterministic, "seeds": seeds,
        "of_mean": _middle(first, scale), "against_mean": _middle(second or [], scale),
        "values": [], "mean": None, "t": None, "bootstrap": None, "p": None, "p_holm": None, "n": len(seeds),
        "seeds_for": None, "missing": (max(a.seeds, b.seeds) if b else a.seeds) - len(seeds), "verdict": None,
    }  # fmt: skip
    why = in_common = imputed = lost = ""
    try:
        found = estimate(first, second, scale)
    except UsageError as error:
        record["verdict"], why = UNDECIDED if expectation else None, str(error)
        found = None
    if found is not None:
        _add_estimate(record, found, expectation)
        if expectation is not None:
            sign = 0 if scale == "sd_ratio" else worse.get(metric, 0)
            record["verdict"], by_chance = _judge(expectation, _interval(found, deterministic), a, b, sign)
            sides = [(a, of), *([(b, against or {})] if b else [])]
            if by_chance:
                lost = " and of ".join(selection(named) for side, named in sides if side.lost)
                imputed = "" if lost else selection(of if a.imputed else against or {})
        in_common = _in_common(a, b) if first == second else ""
        if (in_common == DIVERGED and record["verdict"] == AGREES) or (in_common == NEVER and expectation):
            record["verdict"] = UNDECIDED
        record["seeds_for"] = None if imputed or lost else _seeds_for(record, found, expectation)
    named = [(selection(s or {}), x) for s, x in ((of, a), (against, b)) if x is not None]
    ended = [(how, x.ended[how], x.runs, name) for how in ENDS for name, x in named if x.ended[how]]
    record["sentence"] = sentence(record, Sides(metric, metrics, ended, why, bool(in_common), imputed, lost))
    return record, len(seeds) >= MIN_SEEDS and not (in_common or imputed or lost)


def _interval(found: Estimate, deterministic: bool) -> tuple[float, float] | None:
    """The interval that a verdict goes by; None with too few seeds."""
    if deterministic:
        values = found.values or (found.mean,)
        return min(values), max(values)
    return found.t if found.n >= MIN_SEEDS else None


def _judge(
    expectation: Expectation, interval: tuple[float, float] | None, a: _Side, b: _Side | None, sign: int
) -> tuple[str, bool]:
    """The verdict, and whether there is none because of runs that diverged.

    Those that have no figure may be as bad as can be. Nor is a side a better one whose figures are all imputed, if the
    other's are not: they may be better than what a net that runs has. So a verdict counts if it holds however bad those
    runs really are. sign: see dragon.compare.imputed.worse_sign.
    """
    if interval is None:
        return UNDECIDED, False
    low, high = interval
    alone = a.imputed != bool(b and b.imputed)
    unknown = [worse for side, worse in ((a, sign), (b, -sign)) if side and (side.lost or (alone and side.imputed))]
    for worse in unknown:
        low, high = undecided_ends(low, high, worse)
    verdict = expectation.verdict(low, high)
    return verdict, bool(unknown) and verdict == UNDECIDED


def _in_common(a: _Side, b: _Side | None) -> str:
    """Why values that are equal on both sides say nothing: all runs DIVERGED, or NEVER got to a score.

    Runs whose tests all give NaN count as diverged here.
    """
    whole = [how for how in (NEVER, DIVERGED) if b and (a.ended[how], b.ended[how]) == (a.runs, b.runs)]
    return whole[0] if whole else DIVERGED if b and a.imputed and b.imputed else ""


def _middle(values: Sequence[float], scale: str) -> float | None:
    """The mean of one side; geometric for ratios, so that the two sides' means have the ratio that is given."""
    if not values:
        return None
    return geometric_mean(values) if scale == "ratio" and min(values) > 0 else fmean(values)


def _add_estimate(record: Record, found: Estimate, expectation: Expectation | None) -> None:
    record["values"], record["mean"] = list(found.values), found.mean
    record["t"] = None if found.t is None else list(found.t)
    record["bootstrap"] = None if found.bootstrap is None else list(found.bootstrap)
    if record["deterministic"]:
        return
    if expectation is not None:
        record["p"] = expectation.p(found)
    elif record["against"]:
        record["p"] = found.p(NEUTRAL[found.scale])


def _seeds_for(record: Record, found: Estimate, expectation: Expectation | None) -> Record | None:
    """Seeds that decide a contrast in a share POWER of cases, if the true mean and spread are those that were found."""
    if record["verdict"] != UNDECIDED or expectation is None or record["deterministic"] or not found.sd:
        return None
    if found.scale != "difference" or found.n < MIN_SEEDS:
        return None
    distance = expectation.distance(found.mean)
    if not distance:
        return None
    return {"difference": distance, "n": seeds_to_see(distance, found.sd), "power": POWER}


def _side(
    metric: str, of: Mapping[str, Any], cells: Sequence[Record], factor_metrics: Sequence[Record],
    definition: Mapping[str, Any],
) -> _Side:  # fmt: skip
    over = [entry for entry in factor_metrics if entry["metric"] == metric]
    runs = select(cells, of)
    entries = select(over, of) if over else runs
    by_seed: dict[int, list[float | None]] = {}
    for entry in entries:
        if over:
            values = entry["values"]
        else:
            known = entry["metrics"]
            if metric not in known:
                raise UsageError(f'no metric "{metric}"{nearest(metric, known)}; there are: {", ".join(known)}')
            values = known[metric]["values"]
        for seed, value in zip(entry.get("seeds") or runs[0]["seeds"], values, strict=True):
            by_seed.setdefault(seed, []).append(value)
    finite = {
        seed: fmean(v for v in values if v is not None)
        for seed, values in by_seed.items()
        if len(values) == len(entries) and all(v is not None and math.isfinite(v) for v in values)
    }
    ended = {
        how: sum(cell.get(key) or 0 for cell in runs) for how, key in ((DIVERGED, "diverged"), (STOPPED, "stopped"))
    }
    ended[NEVER] = 0 if over else sum(cell["metrics"][metric].get("never") or 0 for cell in runs)
    count = sum(len(cell["seeds"]) for cell in runs)
    part = definition.get("of", metric)  # of a metric over a factor, that of each run
    imputed = sum((cell["metrics"].get(part) or {}).get("imputed", 0) for cell in runs)
    lost = ended[DIVERGED] and any(
        value is None or not math.isfinite(value)
        for entry in entries
        if over or entry.get("diverged")
        for value in (entry["values"] if over else entry["metrics"][metric]["values"])
    )
    return _Side(finite, len(by_seed), count, ended, imputed == count, bool(lost))


# -- the whole experiment ------------------------------------------------------------------------------------
def primary_of(contrasts: Sequence[Record]) -> Record | None:
    """The primary contrast: the one so marked, else the first; None if there is none."""
    return next((c for c in contrasts if c["primary"]), contrasts[0] if contrasts else None)


def conclude(contrasts: Sequence[Record]) -> Record:
    """The entries "verdict", "headline" and "seeds_for" of results.json, from the primary contrast."""
    primary = primary_of(contrasts)
    if primary is None:
        return {"verdict": None, "headline": "", "seeds_for": None}
    return {"verdict": primary["verdict"], "headline": primary["sentence"], "seeds_for": primary.get("seeds_for")}
