"""Event files of an experiment's runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dragon.compare.events import write_events
from dragon.compare.plan import make_plan
from dragon.compare.reading import read_comparison


def test_each_run_has_a_folder_with_its_series(comparison: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    runs = make_plan(read_comparison(comparison), "numpy", "fp32").runs
    losses: list[Any] = [[1, 2, 3], [2.5, None, 2.0]]
    records = {run.id: {"series": {"train/loss": losses, "test/accuracy@batch": [[5, 10], [0.1, 0.5]]}} for run in runs}
    for _ in range(2):  # a second call replaces the files of the first
        write_events(runs, records, tmp_path / "tb")
    folders = sorted(path.name for path in (tmp_path / "tb").iterdir())
    assert [name.split("_")[0] for name in folders] == ["merged", "plain", "split"]
    for name in folders:
        found = EventAccumulator(str(tmp_path / "tb" / name))
        found.Reload()
        assert [(e.step, e.value) for e in found.Scalars("train/loss")] == [(1, 2.5), (3, 2.0)]
        scores = {tag: found.Scalars(tag) for tag in found.Tags()["scalars"] if tag.startswith("test/accuracy")}
        assert [[(e.step, e.value) for e in events] for events in scores.values()] == [
            [(5, pytest.approx(0.1)), (10, pytest.approx(0.5))]
        ]


def test_runs_whose_names_make_one_folder_are_kept_apart(comparison: Path, tmp_path: Path) -> None:
    run = make_plan(read_comparison(comparison), "numpy", "fp32").runs[0]
    levels: list[dict[str, Any]] = [{"how": "a b"}, {"how": "a_b"}, {"how": "ä" * 300}, {"how": "ä" * 301}]
    runs = [replace(run, id=str(k), levels=one) for k, one in enumerate(levels)]
    records = {run.id: {"series": {"train/loss": [[1], [2.5]]}} for run in runs}
    for _ in range(2):
        write_events(runs, records, tmp_path / "tb")
        assert [len(list(folder.iterdir())) for folder in (tmp_path / "tb").iterdir()] == [1] * 4
