"""The entries "groups" and "runs" of results.json, for programs that read it before there were cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dragon.compare.plan import Plan

__all__ = ["with_groups"]

Record = dict[str, Any]


def with_groups(results: Record, plan: Plan, records: Mapping[str, Record]) -> Record:
    """The results with "groups", one for each cell, and "runs" with their losses."""
    groups = [_group(cell) for cell in results["cells"]]
    runs = [
        {
            "id": run.id, "variant": run.variant, "base_lr": run.base_lr, "seed": run.seed,
            "diverged": records[run.id]["diverged"], "losses": records[run.id]["series"].get("train/loss", ([], []))[1],
        }
        for run in plan.runs
    ]  # fmt: skip
    return {**results, "groups": groups, "runs": runs}


def _group(cell: Record) -> Record:
    kept = ("variant", "base_lr", "seeds", "iterations", "ms_per_iteration", "images_per_s")
    final, curves = {}, {}
    for name, points in cell["curves"].items():
        on, _, rest = name.partition("/")
        if on == "test":
            output, _, statistics = rest.partition("@")
            final[f"{statistics or 'global'}/{output}"] = cell["metrics"][rest]
            curves[f"{statistics or 'global'}/{output}"] = points
    loss = cell["metrics"]["train_loss"]
    return {
        **{key: cell[key] for key in kept}, "diverged": cell["messages"], "final": final, "curves": curves,
        "final_loss": loss if loss["n"] else None,
    }  # fmt: skip
