"""Experiment files become plans: cells, levels, surgery, budgets and seeds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dragon.compare.budget import affordable
from dragon.compare.plan import make_plan
from dragon.compare.probing import check_probes
from dragon.compare.questions import check_questions
from dragon.compare.read_questions import OVER, TAKES
from dragon.compare.reading import KEYS, read_experiment
from dragon.errors import DataError
from tests.compare.experiment_files import add, plan_of


def test_cells_are_the_selected_combinations(experiment: Path) -> None:
    plan = plan_of(experiment)
    cells = [(runs[0].variant, *runs[0].levels.values()) for runs in plan.cells()]
    assert [cell for cell in cells if cell[0] == "plain"] == [
        ("plain", 0.001, 20, "usual"),
        ("plain", 0.01, 20, "usual"),
    ]
    assert sum(cell[0] == "split" for cell in cells) == 4
    assert sum(cell[0] == "merged" for cell in cells) == 8


def test_levels_change_solver_data_and_layers(experiment: Path) -> None:
    for run in plan_of(experiment).runs:
        assert run.base_lr == run.levels["base_lr"]
        train = next(layer for layer in run.solver.train_net_param.layer if layer.include[:1])
        assert train.data_param.batch_size == run.levels["batch_size"]
        for layer in run.solver.train_net_param.layer:
            if layer.type == "BN":
                assert (layer.batch_norm_param.eps < 1e-9) == (run.levels["eps"] == "small")


def test_equal_images_change_iterations_and_tests(experiment: Path) -> None:
    lengths = {
        (run.levels["batch_size"], run.solver.max_iter, run.solver.test_interval) for run in plan_of(experiment).runs
    }
    assert lengths == {(20, 10, 5), (5, 40, 20)}


def test_quick_replaces_keys(experiment: Path) -> None:
    runs = plan_of(experiment, quick=True, seeds=3).runs
    assert [(run.variant, run.levels, run.seed, run.solver.max_iter) for run in runs] == [
        ("plain", {"base_lr": 0.01}, seed, 5) for seed in (1, 2, 3)
    ]


def test_seeds_as_first_and_count(experiment: Path) -> None:
    add(experiment, "name: A", "seeds: {first: 7, count: 2}\nname: A")
    assert read_experiment(experiment).seeds == [7, 8]


def test_base_takes_over_what_is_not_given(comparison: Path) -> None:
    comparison.write_text(
        comparison.read_text()
        + "    set: {momentum: 0.5}\n    layers: {BN: {batch_norm_param: {eps: 0.5}}}\n    averages: LATEST\n"
        + "  - name: other\n    base: merged\n    set: {weight_decay: 0.25}\n"
    )
    run = plan_of(comparison).first("other")
    assert (run.solver.momentum, run.solver.weight_decay) == (0.5, 0.25)
    assert [layer.batch_norm_param.eps for layer in run.solver.train_net_param.layer if layer.type == "BN"] == [0.5]
    assert list(run.averages) == ["global", "LATEST"]


def test_surgery_in_the_file_is_the_net_of_another_file(comparison: Path) -> None:
    """Split by a file and merged by surgery computes what the merged file does: the runs have one key."""
    comparison.write_text(
        comparison.read_text().replace("equal: [split, merged]", "").replace("net: split", "net: split")
        + "    layers: {bn: {batch_norm_param: {average: CAFFE, moving_average_fraction: 0.999, eps: 1e-5}}}\n"
        + "  - name: operated\n    base: split\n    surgery: [merge]\n"
    )
    plan = plan_of(comparison)
    (bn,) = (layer for layer in plan.first("operated").solver.train_net_param.layer if layer.name == "bn")
    assert bn.type == "BN"
    assert plan.first("operated").id != plan.first("split").id


def test_a_budget_leaves_images_equal(experiment: Path) -> None:
    plan = plan_of(experiment)
    runs = [run for run in plan.with_iterations(20).runs if run.variant == "merged"]
    images = {(run.levels["batch_size"], run.solver.max_iter * int(run.levels["batch_size"])) for run in runs}
    assert images == {(5, 100), (20, 100)}
    speeds = {key: {"iteration_s": 1.0, "test_batch_s": 0.0} for key in ("plain", "split", "merged")}
    in_all = affordable(plan, speeds, 1, 20.0 * len(plan.runs))
    cost = sum(run.solver.max_iter for run in plan.with_iterations(in_all).runs)
    assert cost <= 20.0 * len(plan.runs)
    assert in_all == 20


def test_data_beside_the_file_are_found_from_another_folder(
    comparison: Path, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = plan_of(comparison).first("plain").id
    (tmp_path / "beside").symlink_to(synthetic)
    add(comparison, f"dataset: {synthetic}", "dataset: beside")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert plan_of(Path("..", comparison.name)).first("plain").id == before
    (tmp_path / "elsewhere" / "beside").mkdir()
    with pytest.raises(DataError, match=r'"beside" holds 0 folders'):
        plan_of(comparison)


EXAMPLE = Path(__file__).parents[2] / "docs" / "experiment.yaml"


def test_the_example_has_every_key_and_says_nothing_wrong(synthetic: Path, tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    for key in KEYS:
        assert re.search(rf"^(# )?{key}:", text, re.MULTILINE) or key == "equal", key
    for take in [*TAKES, *OVER]:
        assert take in text, take
    path = tmp_path / "example.yaml"
    path.write_text(text)
    for quick in (False, True):
        plan = make_plan(read_experiment(path, quick), "numpy", "fp32", str(synthetic))
        check_questions(plan)
        check_probes(plan.comparison.probes)
        assert {run.variant for run in plan.runs} == {"plain", "split", "merged"}


def test_a_pair_starts_from_the_nearest_cell_of_the_other(synthetic: Path) -> None:
    """Split has no cell with small eps: the merged one there starts from its usual one."""
    plan = make_plan(read_experiment(EXAMPLE), "numpy", "fp32", str(synthetic))
    assert {run.start_from is not None for run in plan.runs if run.variant == "merged"} == {True}


def test_a_picture_shows_built_in_metrics_too(experiment: Path) -> None:
    plan = plan_of(add(experiment, "quick:", "picture: {metrics: [train_loss, area]}\nquick:"))
    check_questions(plan)
    assert plan.comparison.picture is not None
    assert plan.comparison.picture.metrics == ("train_loss", "area")


def test_points_of_costs_are_rounds(experiment: Path) -> None:
    cost = "cost: {settings: {here: {}}}\nmetrics:\n  ms: {series: cost/here/step, take: median, from: 20}\n"
    check_questions(plan_of(add(experiment, "metrics:\n", cost)))
