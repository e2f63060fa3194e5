"""Tuning: the same grid for every variant, scored on the validation split; test data are not touched."""

from __future__ import annotations

import glob
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from dragon.compare.build import Levels, Settings
from dragon.compare.config import Experiment, Tune
from dragon.compare.metrics import lower_is_better, measure
from dragon.compare.plan import Plan, Run, cell_key, make_plan
from dragon.compare.results import all_metrics
from dragon.compare.series import known_series
from dragon.errors import nearest
from dragon.proto import dragon_pb2 as pb

__all__ = ["Tuning", "plan_tuning"]

Record = dict[str, Any]
Point = dict[str, float]


@dataclass(frozen=True)
class Tuning:
    """A plan for each point of the grid."""

    experiment: Experiment
    tune: Tune
    plans: list[tuple[Point, Plan]]

    @property
    def runs(self) -> list[Run]:
        """All runs of all points."""
        return [run for _, plan in self.plans for run in plan.runs]

    @property
    def titles(self) -> dict[str, str]:
        """How progress lines name each run, by its id."""
        found: dict[str, str] = {}
        for point, plan in self.plans:
            values = ", ".join(f"{name} {value:g}" for name, value in point.items())
            found |= {run.id: f"tuning at {values}: {run.title}" for run in plan.runs}
        return found

    def choose(self, records: Mapping[str, Record]) -> list[Record]:
        """The entries "tuning" of results.json: for each variant and levels the grid with its scores, and the best."""
        entries: dict[str, Record] = {}
        metrics = all_metrics(
            self.experiment, known_series(self.plans[0][1], {run.id: records[run.id] for run in self.runs})
        )
        metric = metrics[self.tune.metric]
        lower = lower_is_better(metric.name, metrics)
        for point, plan in self.plans:
            for runs in plan.cells():
                scores = [measure(metric, records[run.id], metrics) for run in runs]
                there = [score for score in scores if score is not None]
                key = cell_key(runs[0].variant, runs[0].levels)
                entry = entries.setdefault(
                    key, {"variant": runs[0].variant, "levels": runs[0].levels, "metric": metric.name, "grid": []}
                )
                failed = sum(bool(records[run.id]["diverged"] or records[run.id]["stopped"]) for run in runs)
                mean = fmean(there) if there else None
                entry["grid"].append({**point, "score": scores, "mean": mean, "failed": failed})
        for entry in entries.values():
            best = max(entry["grid"], key=lambda point: _goodness(point, lower))
            entry["chosen"] = {name: best[name] for name in self.tune.over}
        return list(entries.values())


def _goodness(point: Record, lower: bool) -> tuple[int, float]:
    """For comparison: first of all few runs that diverged or were stopped at chance, then the mean score.

    What such runs count, chance, may be better than a run that learned little, above all by a loss. The sign of the
    mean is turned where a low one is the better; a point without a score is the worst.
    """
    if point["mean"] is None:
        return -len(point["score"]) - 1, -math.inf
    return -point["failed"], -float(point["mean"]) if lower else float(point["mean"])


def plan_tuning(
    experiment: Experiment, tune: Tune, engine: str, precision: str, dataset: str | None,
    share: Callable[[int], int] | None = None,
) -> Tuning:  # fmt: skip
    """The runs of the grid. dataset: in place of the file's. share: see `make_plan`.

    Raises DragonError for wrong definitions or data.
    """
    fields = pb.SolverParameter.DESCRIPTOR.fields_by_name
    for name in tune.over:
        if name not in fields:
            tune.section.fail(f'"tune.over": the solver has no field "{name}"{nearest(name, fields)}', "over")
        if name in {factor.name for factor in experiment.factors} or (
            name == "base_lr" and any(variant.learning_rates for variant in experiment.variants)
        ):
            tune.section.fail(f'"tune.over": {name} is a factor, whose levels are not tuned', "over")
        if name == "max_iter" and tune.iterations:
            tune.section.fail('"tune.over": max_iter has no effect where "tune.iterations" is given', "over")
    if shared := sorted(set(tune.seeds) & set(experiment.seeds)):
        tune.section.fail(
            f'"tune.seeds" must differ from "seeds", which are to be fresh: both have {shared[0]}', "seeds"
        )
    folder = _validation_folder(tune, dataset or experiment.dataset)
    plans = []
    points = math.prod(map(len, tune.over.values()))
    of_all = None if share is None else _of_all(share, points)
    for values in itertools.product(*tune.over.values()):
        point = dict(zip(tune.over, values, strict=True))
        settings = Settings(folder, tune.on, point, tune.iterations)
        plans.append(
            (point, make_plan(experiment, engine, precision, dataset, _always(settings), tune.seeds, of_all))
        )  # fmt: skip
    return Tuning(experiment, tune, plans)


def _of_all(share: Callable[[int], int], points: int) -> Callable[[int], int]:
    return lambda runs: share(points * runs)


def _always(settings: Settings) -> Callable[[str, Levels], Settings]:
    return lambda variant, levels: settings


def _validation_folder(tune: Tune, dataset: str | None) -> str:
    """The folder with the validation split: the data set's own, or one beside it, as `dragon data` makes them."""
    if dataset is None:
        tune.section.fail('tuning needs "dataset", a folder made by `dragon data`, at the top of the file')
    root = Path(dataset).absolute()
    beside = sorted(root.parent.glob(f"{glob.escape(root.name)}_val*"))
    found = next((folder for folder in [root, *beside] if list(folder.glob(f"*_{tune.on}_lmdb"))), None)
    if found is None:
        advice = f"`dragon data {root.name} --validation 5000` makes a set with some"
        tune.section.fail(f'"{dataset}" has no validation images: {advice}')
    return str(found)
