"""Jobs of the small comparison, and what they computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dragon.compare.jobs import Job
from dragon.compare.plan import Run, make_plan
from dragon.compare.reading import read_experiment

__all__ = ["jobs_of", "series_of"]


def jobs_of(path: Path, folder: Path, seeds: int) -> list[Job]:
    """Jobs that train the variant "plain", with results in the new folder `folder`."""
    folder.mkdir()
    plan = make_plan(read_experiment(path, seeds=seeds), "numpy", "fp32")
    runs = [run for run in plan.runs if run.variant == "plain"]

    def job(run: Run) -> Job:
        content = {**run.content("numpy", "fp32"), "kind": "train", "folder": str(folder / run.id)}
        return Job(f"seed {run.seed}", folder / f"{run.seed}.json", content)

    return [job(run) for run in runs]


def series_of(folder: Path) -> list[Any]:
    """The series of all trainings in a folder, in the order of their files' names."""
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return [record["series"] for record in records if "series" in record]
