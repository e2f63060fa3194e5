"""From finished runs to results.json: cells with metrics and curves, metrics over factors, how long pairs agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from dragon.compare.config import Contrast, Experiment, Metric, Picture
from dragon.compare.contrasts import conclude, evaluate_contrasts
from dragon.compare.imputed import is_imputed, worse_sign
from dragon.compare.metrics import LAST, builtin_metrics, curve, lower_is_better, measure, measure_over, never_reached
from dragon.compare.plan import Plan, Run, cell_key
from dragon.compare.series import known_series
from dragon.compare.stats import TOLERANCES, coincide, interval

__all__ = ["LAST", "all_metrics", "assemble", "contrast_as_dict", "metric_as_dict"]

Record = dict[str, Any]

_POINTS = 150  # of a curve; series with more are averaged over neighbours


def all_metrics(experiment: Experiment, series: Sequence[str]) -> dict[str, Metric]:
    """The built-in metrics and those of the file, by name."""
    return builtin_metrics(series) | experiment.metrics


def assemble(plan: Plan, records: dict[str, Record], pairs: list[Record], memory: dict[str, Record]) -> Record:
    """Everything that the report shows. records: results of the runs by id. memory: by variant."""
    c = plan.comparison
    metrics = all_metrics(c, known_series(plan, records))
    cells = [_cell(plan, runs, [records[run.id] for run in runs], metrics) for runs in plan.cells()]
    over = [entry for metric in metrics.values() if metric.over for entry in _over(metric, cells, metrics)]
    contrasts = evaluate_contrasts(
        [contrast_as_dict(one) for one in c.contrasts],
        cells,
        over,
        {m.name: metric_as_dict(m) for m in metrics.values()},
        {one.metric: worse_sign(one.metric, metrics) for one in c.contrasts},
    )
    for pair in pairs:
        pair["coincide"] = _coincide(plan, records, pair["first"], pair["second"])
    return {
        "dataset": plan.dataset,
        "synthetic": plan.synthetic,
        "engine": plan.engine,
        "precision": plan.precision,
        "cells": cells,
        "factors": {factor.name: [level.value for level in factor.levels] for factor in c.factors},
        "metrics": {m.name: metric_as_dict(m) for m in metrics.values()},
        "picture": None if c.picture is None else _picture(c.picture),
        "factor_metrics": over,
        "contrasts": contrasts,
        **conclude(contrasts),
        "pairs": pairs,
        "memory": memory,
    }


def _picture(picture: Picture) -> Record:
    return {
        **{key: getattr(picture, key) for key in ("series", "metric", "metrics", "over", "log")},
        "where": dict(picture.where),
    }


def contrast_as_dict(contrast: Contrast) -> Record:
    """A contrast with the keys of the file."""
    found = {key: getattr(contrast, key) for key in ("name", "metric", "scale", "expect", "primary", "deterministic")}
    return {**found, "of": dict(contrast.of), "against": None if contrast.against is None else dict(contrast.against)}


def metric_as_dict(metric: Metric) -> Record:
    """A metric with the keys of the file."""
    names = {"start": "from", "end": "to"}
    kept = (
        "take",
        "series",
        "less",
        "per",
        "minus",
        "quotient",
        "power",
        "of",
        "over",
        "value",
        "iter",
        "start",
        "end",
        "within",
    )
    values = {names.get(key, key): getattr(metric, key) for key in kept}
    return {key: value for key, value in values.items() if value is not None}


# -- cells ----------------------------------------------------------------------------------------------------
def _cell(plan: Plan, runs: list[Run], records: list[Record], metrics: Mapping[str, Metric]) -> Record:
    """The runs of one variant at some levels over the seeds."""
    first = runs[0]
    per_iteration = [1e3 * r["train_s"] / r["done"] for r in records if r["done"]]
    ms = interval(per_iteration).mean if per_iteration else None
    variant = next(v for v in plan.comparison.variants if v.name == first.variant)
    return {
        "variant": first.variant,
        "levels": first.levels,
        "base_lr": first.base_lr,
        "seeds": [run.seed for run in runs],
        "runs": [run.id for run in runs],
        "diverged": sum(bool(r["diverged"]) for r in records),
        "stopped": sum(bool(r["stopped"]) for r in records),
        "failed": [run.seed for run, r in zip(runs, records, strict=True) if r["diverged"] or r["stopped"]],
        "chance": records[0].get("chance") or {},
        "messages": [r["diverged"] for r in records if r["diverged"]],
        "what": variant.description,
        "iterations": first.solver.max_iter,
        "batch_size": records[0]["batch_size"],
        "metrics": {m.name: _values(m, records, metrics) for m in metrics.values() if not m.over},
        "curves": _curves(records),
        "ms_per_iteration": ms,
        "images_per_s": 1e3 * records[0]["batch_size"] / ms if ms else None,
    }


def _values(metric: Metric, records: Sequence[Record], metrics: Mapping[str, Metric]) -> Record:
    values = [measure(metric, record, metrics) for record in records]
    never = sum(
        value is not None and never_reached(metric, record) for value, record in zip(values, records, strict=True)
    )
    imputed = sum(
        value is not None and is_imputed(metric, record, metrics) for value, record in zip(values, records, strict=True)
    )
    counts = {"never": never, "imputed": imputed}
    return {**summary(values), **{name: count for name, count in counts.items() if count}}


def summary(values: Sequence[float | None]) -> Record:
    """Values over seeds with their mean and interval; None for all of them when there are no values."""
    there = [value for value in values if value is not None]
    if not there:
        return {"values": list(values), "mean": None, "low": None, "high": None, "n": 0, "kind": ""}
    return {"values": list(values), **asdict(interval(there))}


def _curves(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Each series over the seeds, at the iterations that all of them have."""
    curves: dict[str, list[Record]] = {}
    for name in dict.fromkeys(name for record in records for name in record["series"]):
        found = [dict(zip(*c, strict=True)) for record in records if (c := curve(record, name)) is not None]
        shared = [x for x in found[0] if all(one.get(x) is not None for one in found)] if found else []
        width = -(-len(shared) // _POINTS) or 1
        points = []
        for start in range(0, len(shared), width):
            part = shared[start : start + width]
            means = [sum(one[x] or 0.0 for x in part) / len(part) for one in found]
            points.append({"iter": sum(part) / len(part) if len(part) > 1 else part[0], **asdict(interval(means))})
        if points:
            curves[name] = points
    return curves


# -- over factors ---------------------------------------------------------------------------------------------
def _over(metric: Metric, cells: Sequence[Record], metrics: Mapping[str, Metric]) -> list[Record]:
    """The metric of each variant, at each combination of the other factors' levels."""
    groups: dict[str, list[Record]] = {}
    for cell in cells:
        if metric.over in cell["levels"]:
            rest = {name: level for name, level in cell["levels"].items() if name != metric.over}
            groups.setdefault(cell_key(cell["variant"], rest), []).append(cell)
    entries = []
    lower = metric.of is not None and metric.of in metrics and lower_is_better(metric.of, metrics)
    for group in groups.values():
        seeds = list(dict.fromkeys(seed for cell in group for seed in cell["seeds"]))
        values = [
            measure_over(metric, _by_level(metric, group, seed), _failed(metric, group, seed), lower) for seed in seeds
        ]
        rest = {name: level for name, level in group[0]["levels"].items() if name != metric.over}
        entries.append(
            {"variant": group[0]["variant"], "levels": rest, "metric": metric.name, "seeds": seeds, **summary(values)}
        )
    return entries


def _by_level(metric: Metric, group: Sequence[Record], seed: int) -> dict[Any, float | None]:
    found: dict[Any, float | None] = {}
    for cell in group:
        if seed in cell["seeds"]:
            entry = cell["metrics"].get(metric.of)
            found[cell["levels"][metric.over]] = None if entry is None else entry["values"][cell["seeds"].index(seed)]
    return found


def _failed(metric: Metric, group: Sequence[Record], seed: int) -> list[Any]:
    return [cell["levels"][metric.over] for cell in group if seed in cell["failed"]]


# -- pairs ----------------------------------------------------------------------------------------------------
def _coincide(plan: Plan, records: dict[str, Record], first: str, second: str) -> list[Record]:
    """For all levels and seeds that both variants have: iterations for which the losses agree, by tolerance."""
    rows = []
    others: dict[tuple[str, int], list[Run]] = {}
    for run in plan.runs:
        if run.variant == second:
            others.setdefault((cell_key("", run.levels), run.seed), []).append(run)
    for a in (run for run in plan.runs if run.variant == first):
        key = (cell_key("", a.levels), a.seed)
        for b in others.get(key, ()):
            x, y = (_losses(records[run.id]) for run in (a, b))
            within = {f"{tolerance:g}": coincide(x, y, tolerance) for tolerance in TOLERANCES}
            row = {"levels": a.levels, "base_lr": a.base_lr, "seed": a.seed, "of": min(len(x), len(y))}
            rows.append({**row, "within": within})
    return rows


def _losses(record: Record) -> list[float]:
    return [value for value in record["series"].get("train/loss", ([], []))[1] if value is not None]
