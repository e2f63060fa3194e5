"""From finished runs to results.json: scores of each variant with intervals, and how long the losses of pairs agree."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from dragon.compare.plan import Plan, Run
from dragon.compare.stats import TOLERANCES, coincide, interval

__all__ = ["LAST", "assemble"]

Record = dict[str, Any]

LAST = 100  # iterations whose mean is the training loss of a run


def assemble(plan: Plan, records: dict[str, Record], pairs: list[Record], memory: dict[str, Record]) -> Record:
    """Everything that the report shows. records: results of the runs by id. memory: by variant."""
    groups = []
    for variant in plan.comparison.variants:
        rates = dict.fromkeys(run.base_lr for run in plan.runs if run.variant == variant.name)
        for rate in rates:
            runs = [run for run in plan.runs if (run.variant, run.base_lr) == (variant.name, rate)]
            groups.append(_group(runs, [records[run.id] for run in runs]))
    for pair in pairs:
        pair["coincide"] = _coincide(plan, records, pair["first"], pair["second"])
    return {
        "dataset": plan.dataset,
        "synthetic": plan.synthetic,
        "engine": plan.engine,
        "precision": plan.precision,
        "groups": groups,
        "pairs": pairs,
        "memory": memory,
        "runs": [
            {"id": r.id, "variant": r.variant, "base_lr": r.base_lr, "seed": r.seed, **records[r.id]} for r in plan.runs
        ],
    }


def _group(runs: list[Run], records: list[Record]) -> Record:
    """The runs of one variant at one learning rate over the seeds."""
    finished = [record for record in records if not record["diverged"]]
    per_iteration = [1e3 * r["train_s"] / r["iterations"] for r in records if r["iterations"]]
    group: Record = {
        "variant": runs[0].variant,
        "base_lr": runs[0].base_lr,
        "seeds": [run.seed for run in runs],
        "iterations": runs[0].solver.max_iter,
        "diverged": [record["diverged"] for record in records if record["diverged"]],
        "ms_per_iteration": interval(per_iteration).mean if per_iteration else None,
        "images_per_s": None,
        "final": {},
        "curves": {},
        "final_loss": None,
    }
    if per_iteration:
        group["images_per_s"] = 1e3 * records[0]["batch_size"] / group["ms_per_iteration"]
    if not finished:
        return group
    tail = [r["losses"][-LAST:] for r in finished]
    group["final_loss"] = asdict(interval([math.fsum(t) / len(t) for t in tail]))
    for statistics in (key for key in finished[0]["tests"][-1] if key != "iter"):
        for name in finished[0]["tests"][-1].get(statistics, {}):
            curves = [[t[statistics][name] for t in r["tests"]] for r in finished]
            group["final"][f"{statistics}/{name}"] = asdict(interval([curve[-1] for curve in curves]))
            group["curves"][f"{statistics}/{name}"] = [
                {"iter": finished[0]["tests"][k]["iter"], **asdict(interval(values))}
                for k, values in enumerate(zip(*curves, strict=True))
            ]
    return group


def _coincide(plan: Plan, records: dict[str, Record], first: str, second: str) -> list[Record]:
    """For each learning rate and seed that both variants have: iterations for which the losses agree, by tolerance."""
    rows = []
    for a in (run for run in plan.runs if run.variant == first):
        for b in (run for run in plan.runs if (run.variant, run.base_lr, run.seed) == (second, a.base_lr, a.seed)):
            x, y = records[a.id]["losses"], records[b.id]["losses"]
            within = {f"{tolerance:g}": coincide(x, y, tolerance) for tolerance in TOLERANCES}
            rows.append({"base_lr": a.base_lr, "seed": a.seed, "of": min(len(x), len(y)), "within": within})
    return rows
