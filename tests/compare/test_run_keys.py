"""What decides a run's result is in its key, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragon.compare import training
from dragon.compare.plan import Run, make_plan
from dragon.compare.reading import read_experiment
from dragon.data import write_synthetic
from dragon.errors import DataError
from tests.compare.experiment_files import add, plan_of


def test_names_and_paths_are_not_in_the_key(comparison: Path, synthetic: Path, tmp_path: Path) -> None:
    before = plan_of(comparison).first("plain").id
    add(comparison, "- name: plain", "- name: renamed")
    add(comparison, "name: A small comparison", "name: Another one")
    (tmp_path / "elsewhere").symlink_to(synthetic)
    add(comparison, str(synthetic), str(tmp_path / "elsewhere"))
    assert plan_of(comparison).first("renamed").id == before


@pytest.mark.parametrize(
    "change", ["set: {momentum: 0.5}", "layers: {relu: {relu_param: {negative_slope: 0.1}}}", "averages: LATEST"]
)
def test_what_decides_the_result_is_in_the_key(comparison: Path, change: str) -> None:
    before = plan_of(comparison).first("merged").id
    comparison.write_text(comparison.read_text() + f"    {change}\n")
    assert plan_of(comparison).first("merged").id != before


def test_the_variance_of_exact_statistics_is_in_the_key_where_it_is_not_the_usual_one(comparison: Path) -> None:
    add(comparison, "name: A", "statistics: [{exact: 40}]\nname: A")
    ids = []
    for old, new in (("40}", "40}"), ("40}", "40, variance: pooled}"), ("pooled", "batches")):
        add(comparison, old, new)
        ids.append(plan_of(comparison).first("merged").id)
    assert ids[0] == ids[1] != ids[2]


def test_the_content_of_the_first_weights_is_in_the_key(comparison: Path, tmp_path: Path) -> None:
    add(comparison, "name: A", "set: {weights: first.caffemodel}\nname: A")
    with pytest.raises(DataError, match='variant "plain": weights: no such file: first'):
        plan_of(comparison)
    ids = []
    for content in (b"one", b"other"):
        comparison.with_name("first.caffemodel").write_bytes(content)  # beside the solver
        ids.append(plan_of(comparison).first("plain").id)
    assert ids[0] != ids[1]


def test_threads_are_planned_for_all_runs_and_in_the_key_where_they_round(
    comparison: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(comparison, "  - name: merged", "  - name: two\n    threads: 2\n  - name: merged")
    experiment = read_experiment(comparison)
    before = make_plan(experiment, "numpy", "fp32").runs

    def plan(threads: int) -> dict[str, Run]:
        return {run.variant: run for run in make_plan(experiment, "numpy", "fp32", share=lambda runs: threads).runs}

    assert {name: run.threads for name, run in plan(1).items()} == {"plain": 1, "split": 1, "two": 2, "merged": 1}
    assert [run.id for run in plan(1).values()] == [run.id for run in before]
    assert [run.id for run in plan(4).values()] == [run.id for run in before]  # the nets are small
    assert plan(1)["two"].id != plan(1)["plain"].id
    monkeypatch.setattr(training, "_SMALL", 0)
    assert plan(4)["plain"].threads == 4
    assert plan(4)["plain"].id != plan(1)["plain"].id


def test_threads_are_not_in_the_key_of_a_run_on_a_gpu(comparison: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that an experiment goes on with another --jobs, which gives each run other threads."""
    monkeypatch.setattr(training, "_SMALL", 0)
    experiment = read_experiment(comparison)

    def ids(engine: str, threads: int) -> list[str]:
        return [run.id for run in make_plan(experiment, engine, "fp32", share=lambda runs: threads).runs]

    assert ids("cuda", 4) == ids("cuda", 1)
    assert ids("numpy", 4) != ids("numpy", 1)


def test_the_content_of_the_data_is_in_the_key(comparison: Path, synthetic: Path, tmp_path: Path) -> None:
    before = plan_of(comparison).first("plain").id
    write_synthetic(tmp_path / "same", train=200, test=60)
    write_synthetic(tmp_path / "other", train=200, test=60, seed=5)
    plans = [
        make_plan(read_experiment(comparison), "numpy", "fp32", str(tmp_path / name)) for name in ("same", "other")
    ]
    assert plans[0].first("plain").id == before
    assert plans[1].first("plain").id != before
