"""Experiment files with factors, surgery, metrics and contrasts: plans, keys, and a whole run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dragon import models
from dragon.compare import compare, measurements, session, training
from dragon.compare.budget import affordable
from dragon.compare.listing import find_experiment, list_experiments
from dragon.compare.plan import Plan, Run, make_plan
from dragon.compare.probing import check_probes
from dragon.compare.progress import PlainDisplay
from dragon.compare.questions import check_questions
from dragon.compare.read_questions import OVER, TAKES
from dragon.compare.reading import KEYS, read_experiment
from dragon.compare.tuning import plan_tuning
from dragon.data import write_synthetic
from dragon.errors import DataError, UsageError

TAIL = """
factors:
  base_lr: [1e-3, 0.01]
  batch_size: [5, 20]
  eps:
    small: {layers: {BN: {batch_norm_param: {eps: 1e-10}}}}
    usual: {}
only: [{variant: merged}, {variant: split, eps: usual}, {variant: plain, eps: usual, batch_size: 20}]
equal_images: true
statistics: [global, batch, {exact: 40}]
test_on: [test, train]
metrics:
  area: {series: test/accuracy, take: mean}
  gap: {minus: [train_accuracy, accuracy]}
  best_rate: {of: accuracy, over: base_lr, take: argmax}
contrasts:
  - {metric: accuracy, of: {variant: merged, eps: small}, against: {variant: merged, eps: usual}, expect: "within 1"}
quick: {iterations: 5, factors: {base_lr: [0.01]}, only: [{variant: plain}], contrasts: [{metric: area, of: {}}]}
"""


@pytest.fixture
def experiment(comparison: Path) -> Path:
    comparison.write_text(comparison.read_text().replace("equal: [split, merged]\n", "") + TAIL)
    return comparison


@pytest.fixture(autouse=True)
def _short_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "PAIR_S", 0.05)


def plan_of(path: Path, **settings: Any) -> Plan:
    return make_plan(read_experiment(path, **settings), "numpy", "fp32")


def add(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


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


@pytest.mark.parametrize("seeds", [0, -3, 2.5, True, 10_001, 10**12])
def test_a_number_of_seeds_that_there_cannot_be_is_one_line(comparison: Path, seeds: Any) -> None:
    with pytest.raises(UsageError, match=rf"seeds must be a whole number from 1 to 10,000, got {seeds}$"):
        read_experiment(comparison, seeds=seeds)


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


# -- keys -------------------------------------------------------------------------------------------------------
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


# -- mistakes ---------------------------------------------------------------------------------------------------
MISTAKES = {
    "unknown factor": ("batch_size: [5", "bach_size: [5", 'no field "bach_size" (did you mean "batch_size"'),
    "unknown level": ("usual}, {variant: plain", "usul}, {variant: plain", 'no level "usul" (did you mean "usual"'),
    "unknown variant": ("{variant: merged}, {", "{variant: mergd}, {", 'no level "mergd" (did you mean "merged"'),
    "unknown statistics": ("[global, batch, {exact: 40}]", "[bach]", 'unknown "bach" (did you mean "batch"'),
    "unknown take": ("take: mean", "take: meen", 'unknown "meen" (did you mean "mean"'),
    "unknown series": (
        "series: test/acc",
        "series: test/ac",
        'no run has "test/acuracy" (did you mean "test/accuracy"',
    ),
    "unknown series to subtract": (
        "series: test/accuracy, take",
        "series: test/accuracy, less: test/los, take",
        '"metrics.area.less": no run has "test/los" (did you mean "test/loss"',
    ),
    "two stars": ("series: test/accuracy, take", "series: probe/*/*, take", 'one * at most, and in "series" too'),
    "per alone": (
        "{minus: [train_accuracy",
        "{per: a, of: accuracy, over: base_lr} #",
        '"metrics.gap.per" needs "series"',
    ),
    "share above 100": ("take: mean", "take: mean, from: 110%", 'a share of the run such as 10%, got "110%"'),
    "unknown metric": ("[train_acc", "[train_ac", 'no metric "train_acuracy" (did you mean "train_accuracy"'),
    "bad expectation": ('expect: "within 1"', 'expect: "about 1"', 'got "about 1"'),
    "metric of itself": ("minus: [train_accuracy, accuracy]", "minus: [gap, accuracy]", '"gap" is defined by itself'),
    "power of a difference": (
        "minus: [train_accuracy, accuracy]",
        "minus: [accuracy, loss], power: 2",
        "of a quotient",
    ),
    "quotient of one": ("minus: [train_accuracy, accuracy]", "quotient: [accuracy]", "a list of two metrics"),
    "quotient of nothing": (
        "minus: [train_accuracy, accuracy]",
        "quotient: [accuracy, los]",
        'no metric "los" (did you mean "loss"',
    ),
    "mistake in quick": ("quick: {iterations: 5", "quick: {iterations: x", "whole number of at least 1, got 'x'"),
    "key in quick": ("quick: {iterations: 5", "quick: {iteration: 5", 'unknown key "quick.iteration" (did you mean'),
    "stop": ("equal_images: true", "stop: {chance: {acuracy: 0.1, at: 5}}", 'no test has an output "acuracy" (did you'),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_one_line_with_its_place(what: str, experiment: Path) -> None:
    old, new, expected = MISTAKES[what]
    add(experiment, old, new)
    line = next(i for i, text in enumerate(experiment.read_text().splitlines(), 1) if new in text)
    with pytest.raises(UsageError, match=re.escape(expected)) as caught:
        check_questions(plan_of(experiment))
    assert str(caught.value).startswith(f"{experiment}:{line}: ")
    assert "\n" not in str(caught.value)


# -- runs -------------------------------------------------------------------------------------------------------
class Silent(PlainDisplay):
    def __init__(self) -> None:
        self.lines: list[str] = []
        super().__init__(self.lines.append)

    @property
    def started(self) -> list[str]:
        return [line.partition(": started")[0] for line in self.lines if "iterations" in line and ": started" in line]


def results_of(report: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads(report.with_name("results.json").read_text())
    return results


@pytest.mark.usefixtures("workers_here")
def test_experiments_share_runs(comparison: Path, tmp_path: Path) -> None:
    add(comparison, "equal: [split, merged]\n", "")
    display, again = Silent(), Silent()
    first = compare(comparison, tmp_path / "a", store=tmp_path / "s", engine="numpy", display=display)
    assert len(display.started) == 3
    add(comparison, "- name: plain", "- name: usual")
    add(comparison, "  - name: split\n    net: split.prototxt\n", "")
    add(comparison, "name: A small", "contrasts: [{metric: accuracy, of: {variant: usual}}]\nname: A")
    second = compare(comparison, tmp_path / "b", store=tmp_path / "s", engine="numpy", display=again)
    assert again.started == []
    cells = [{cell["variant"]: cell for cell in results_of(report)["cells"]} for report in (first, second)]
    assert cells[0]["plain"]["metrics"] == cells[1]["usual"]["metrics"]
    assert results_of(second)["contrasts"][0]["mean"] == cells[1]["usual"]["metrics"]["accuracy"]["mean"]


@pytest.mark.usefixtures("workers_here")
def test_probes_and_surgery_are_those_of_their_packages(comparison: Path, tmp_path: Path) -> None:
    """A net with normalisations inserted, measured by a probe; the series become metrics."""
    text = add(comparison, "equal: [split, merged]\n", "").read_text()
    comparison.write_text(
        text[: text.index("  - name: split")]
        + "  - name: bn\n    base: plain\n    surgery:\n      - insert: {after: convolution, form: merged}\n"
        + "probes:\n  - weight_norm: {every: 5}\n"
        + "metrics: {growth: {series: probe/weight_norm/conv, take: ratio, from: 0, to: 10}}\n"
    )
    (bn,) = (layer.type for layer in plan_of(comparison).first("bn").solver.train_net_param.layer if layer.type == "BN")
    assert bn == "BN"
    results = results_of(compare(comparison, tmp_path / "out", engine="numpy", display=Silent()))
    for cell in results["cells"]:
        curve = cell["curves"]["probe/weight_norm/conv"]
        assert [point["iter"] for point in curve] == [0, 5, 10]
        assert cell["metrics"]["growth"]["mean"] == pytest.approx(curve[-1]["mean"] / curve[0]["mean"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("probes: [weight_nrm]", 'unknown probe "weight_nrm" (did you mean "weight_norm"'),
        ("probes: [{weight_norm: {evry: 5}}]", 'unknown setting "evry" (did you mean "every"'),
        ("probes: [weight_norm, weight_norm]", "is given twice"),
    ],
)
def test_a_wrong_probe_is_one_line(comparison: Path, tmp_path: Path, line: str, message: str) -> None:
    add(comparison, "name: A", f"{line}\nname: A")
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        compare(comparison, tmp_path / "out", engine="numpy", display=Silent())
    assert str(caught.value).startswith(f"{comparison}:2: ")


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("[{insrt: {}}]", '(did you mean "insert"'),
        ("[splt]", '(did you mean "split"'),
        ("[{insert: 3}]", "must be a mapping, got 3"),
        ("[[split]]", "must be a list of names, or of mappings such as {insert: {after: convolution}}"),
    ],
)
def test_wrong_surgery_is_one_line(steps: str, message: str, comparison: Path) -> None:
    comparison.write_text(comparison.read_text() + f"    surgery: {steps}\n")
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        plan_of(comparison)
    assert str(caught.value).startswith(f"{comparison}:12: ")


@pytest.mark.usefixtures("workers_here")
def test_tuning_takes_the_best_of_the_validation_images(comparison: Path, tmp_path: Path, synthetic: Path) -> None:
    add(comparison, "equal: [split, merged]\n", "")
    held = tmp_path / "data_val"
    (tmp_path / "data").symlink_to(synthetic)
    write_synthetic(held, train=100, test=40)
    (held / "synthetic_test_lmdb").rename(held / "synthetic_val_lmdb")
    text = comparison.read_text().replace(str(synthetic), str(tmp_path / "data"))
    text = text[: text.index("  - name: split")]
    comparison.write_text(
        text + "tune: {over: {base_lr: [1e-9, 0.01]}, metric: loss, seeds: [101, 102], iterations: 5}\n"
    )
    for wrong, message in {
        "seeds: [1, 102]": '"tune.seeds" must differ from "seeds", which are to be fresh: both have 1',
        "over: {random_seed: [1]}": '"tune.over.random_seed" has no effect',
    }.items():
        old = "seeds: [101, 102]" if "102" in wrong else "over: {base_lr: [1e-9, 0.01]}"
        wrong_file = comparison.with_name("wrong.yaml")
        wrong_file.write_text(comparison.read_text().replace(old, wrong))
        with pytest.raises(UsageError, match=rf"wrong.yaml:\d+: {message}"):
            compare(wrong_file, tmp_path / "out", engine="numpy", display=Silent())
    wrong_file.write_text(comparison.read_text() + "factors: {base_lr: [0.1]}\n")
    with pytest.raises(UsageError, match="base_lr is a factor, whose levels are not tuned"):
        compare(wrong_file, tmp_path / "out", engine="numpy", display=Silent())
    report = compare(comparison, tmp_path / "out", engine="numpy", display=Silent())
    results = results_of(report)
    (entry,) = results["tuning"]
    assert entry["chosen"] == {"base_lr": 0.01}
    assert [len(point["score"]) for point in entry["grid"]] == [2, 2]
    assert results["cells"][0]["base_lr"] == pytest.approx(0.01)
    assert results["cells"][0]["seeds"] == [1]


def record(loss: float, diverged: bool = False, stopped: bool = False) -> dict[str, Any]:
    series = {"test/loss": [[5], [loss]], "train/loss": [[5], [loss]]}
    return {
        "series": {} if diverged else series, "diverged": "it did" if diverged else None, "stopped": stopped,
        "chance": {"loss": 2.3, "accuracy": 0.1}, "iterations": 5, "done": 5, "test_interval": 5, "train_s": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("records", "chosen"),
    [
        ([[2.9, 2.8], [2.6, 2.7], [None, None]], 0.1),  # all of them worse than chance, which a diverged run counts
        ([[2.9, 2.8], [None, 0.5], [None, None]], 0.01),
        ([[None, None], [None, 0.5], [None, None]], 0.1),
        ([["stopped", 1.0], [2.6, 2.7], [None, None]], 0.1),
    ],
)
def test_tuning_chooses_no_point_at_which_a_run_diverged(
    comparison: Path, tmp_path: Path, synthetic: Path, records: list[list[Any]], chosen: float
) -> None:
    (tmp_path / "data").symlink_to(synthetic)
    (tmp_path / "data_val").mkdir()
    for name, part in (("train", "train"), ("test", "val")):
        (tmp_path / "data_val" / f"synthetic_{part}_lmdb").symlink_to(synthetic / f"synthetic_{name}_lmdb")
    (tmp_path / "data_val" / "mean.binaryproto").symlink_to(synthetic / "mean.binaryproto")
    tune = "tune: {over: {base_lr: [0.01, 0.1, 1.0]}, metric: loss, seeds: [101, 102]}"
    comparison.write_text(f"solver: solver.prototxt\ndataset: {tmp_path}/data\nvariants: [{{name: plain}}]\n{tune}\n")
    experiment = read_experiment(comparison)
    assert experiment.tune is not None
    tuning = plan_tuning(experiment, experiment.tune, "numpy", "fp32", None)
    given = iter([one for point in records for one in point])
    made = {
        run.id: record(1.0, stopped=True) if (one := next(given)) == "stopped" else record(one or 0.0, one is None)
        for run in tuning.runs
    }
    (entry,) = tuning.choose(made)
    assert entry["chosen"] == {"base_lr": chosen}
    assert [point["failed"] for point in entry["grid"]] == [
        sum(one is None or one == "stopped" for one in point) for point in records
    ]


@pytest.mark.usefixtures("workers_here")
def test_an_experiment_all_of_whose_runs_diverge_before_their_first_test_has_results(
    comparison: Path, tmp_path: Path
) -> None:
    contrast = "{metric: loss, of: {variant: split}, against: {variant: merged}, expect: '> 0'}"
    text = comparison.read_text().replace("name: A", "learning_rates: [1e30]\nseeds: [1, 2, 3]\nname: A")
    comparison.write_text(f"{text}contrasts: [{contrast}]\n")
    results = results_of(compare(comparison, tmp_path, engine="numpy", display=Silent()))
    assert [cell["diverged"] for cell in results["cells"]] == [3, 3, 3]
    for cell in results["cells"]:
        assert cell["metrics"]["accuracy"]["values"] == pytest.approx([0.1] * 3)
        assert cell["metrics"]["loss"]["values"] == pytest.approx([2.302585] * 3)
    assert "Diverged: 3 of 3 runs of split." in results["headline"]


# -- the file that shows everything ---------------------------------------------------------------------------
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


def test_folders_that_take_no_results_are_found_before_training(
    comparison: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {name: tmp_path / name for name in ("output", "store", "tensorboard")}
    monkeypatch.setattr(session._Session, "measure", lambda self: pytest.fail("it began"))
    for closed in folders:
        monkeypatch.setattr("os.access", lambda path, mode, closed=folders[closed]: Path(path) != closed)
        with pytest.raises(OSError, match="cannot be written to") as caught:
            compare(comparison, **folders, display=Silent())  # type: ignore[arg-type]
        assert Path(str(caught.value.filename)).parent == folders[closed]
    monkeypatch.undo()
    (tmp_path / "page" / "report.html").mkdir(parents=True)
    with pytest.raises(OSError, match="Is a directory"):
        compare(comparison, tmp_path / "page", display=Silent())


@pytest.mark.usefixtures("workers_here")
def test_a_file_without_a_short_form_is_not_called_quick(
    comparison: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    display = Silent()
    report = compare(comparison, engine="numpy", quick=True, display=display)
    assert report == Path("compare/small/report.html")
    assert "small.yaml has no short form: it runs at full size" in display.lines
    about = results_of(report)["about"]
    assert (about["quick"], about["command"]) == (False, f"dragon compare {comparison} --engine numpy")


# -- the list ---------------------------------------------------------------------------------------------------
def test_experiments_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "experiments"
    folder.mkdir()
    (folder / "lr_range.yaml").write_text("claim: >\n  Higher rates\n  work.\ntime: two hours\nvariants: []\n")
    (folder / "jitter.yaml").write_text("name: Runs differ more\nvariants: []\n")
    monkeypatch.setattr(models, "__path__", [str(tmp_path)])
    (tmp_path / "out" / "jitter").mkdir(parents=True)
    (tmp_path / "out" / "jitter" / "results.json").write_text('{"about": {"seconds": 125, "quick": true}}')
    assert [(one.name, one.claim, one.time) for one in list_experiments(tmp_path / "out")] == [
        ("jitter", "Runs differ more", "took 2 min here (quick)"),
        ("lr_range", "Higher rates work.", "two hours"),
    ]
    assert find_experiment("lr_range") == folder / "lr_range.yaml"
    assert find_experiment("some/file.yaml") == Path("some/file.yaml")
    (tmp_path / "lr_range").mkdir()  # the folder of its results, in a working directory of results
    monkeypatch.chdir(tmp_path)
    assert find_experiment("lr_range") == folder / "lr_range.yaml"
    with pytest.raises(UsageError, match=re.escape('no experiment "lr_rang" (did you mean "lr_range"?)')):
        find_experiment("lr_rang")


WITHOUT_EFFECT = {
    "seed": ("", "set: {random_seed: 7}", '"set.random_seed" has no effect: "seeds" of the experiment'),
    "length": ("", "iterations: 5\nset: {max_iter: 7}", '"iterations" of the experiment decides it'),
    "display": ("", "set: {display: 7}", '"set.display" has no effect: an experiment decides it by itself'),
    "type": ("", "set: {type: Adamm}", r'type is one of .*, got "Adamm" \(did you mean "Adam"\?\)'),
    "level": ("  batch_size:", "  random_seed: [5]\n  batch_size:", '"factors.random_seed" has no effect'),
    "train only": ("test_on: [test, train]", "test_on: [train]", '"test_on" must contain "test"'),
    "twice": ("statistics: [global, ", "statistics: [exact, ", "names exact twice"),
    "unused key": ("take: mean}", "take: mean, value: 3}", '"metrics.area.value" has no effect with take: mean'),
    "within": ("take: argmax}", "take: span, within: -1}", "must not be negative"),
    "ratio above 0": (
        'expect: "within 1"',
        'scale: ratio, expect: ">= 0"',
        'a ratio is always above 0, and 1 is no difference: "> 1", not ">= 0"',
    ),
    "expected in percent": (
        'expect: "within 1"',
        'expect: "within 2"',
        r'"contrasts.0..expect": accuracy is a share of 1, in percent with a %, got "within 2"',
    ),
    "bound in percent": (
        'expect: "within 1"',
        'expect: "> 5"',
        'accuracy is a share of 1, in percent with a %, got "> 5"',
    ),
    "middle in percent": ('expect: "within 1"', 'expect: "within 0.1 of 80"', "accuracy is a share of 1"),
    "a span of one level": (
        "only: ",
        "only: [{variant: merged, base_lr: 0.01}]\n# ",
        '"metrics.best_rate.take": argmax needs several levels of base_lr, there is one',
    ),
    "after the end": (
        "take: mean}",
        "take: mean, from: 41}",
        '"metrics.area.from" is 41, and the longest run takes 40',
    ),
    "turned round": ("take: mean}", "take: mean, from: 90%, to: 10%}", '"metrics.area.from" is 36, and "to" is 4'),
    "rates twice": ("factors:", "learning_rates: [0.1]\nfactors:", "another way to write the factor base_lr"),
    "against nothing": ("against: {variant: merged, eps: usual}", "against: {}", 'against" names nothing'),
    "against itself": ("eps: small}, against", "eps: usual}, against", 'against" selects the runs of "of" too'),
    "infinite bound": ('expect: "within 1"', 'expect: "> 1e999"', 'got "> 1e999"'),
    "rate of no run": ("quick:", "picture: {metric: accuracy, over: momentum}\nquick:", 'over" names no factor'),
    "picture of a metric over a factor": (
        "quick:",
        "picture: {metrics: [accuracy, best_rate]}\nquick:",
        '"picture.metrics": best_rate is over base_lr, and not of a run; {metric: best_rate} shows it',
    ),
    "picture over a factor twice": (
        "quick:",
        "picture: {metric: best_rate, over: base_lr}\nquick:",
        '"picture.metric": best_rate is over base_lr, and',
    ),
    "picture": ("quick:", "picture: {metrics: [accuracy, los]}\nquick:", 'no metric "los" .did you mean "loss"'),
    "tuned by what is not there": (
        "",
        "tune: {over: {momentum: [0.5]}, metric: acuracy}",
        'no metric "acuracy" .did you mean "accuracy"',
    ),
    "tuned over a factor": ("", "tune: {over: {momentum: [0.5]}, metric: best_rate}", "best_rate is over a factor"),
    "stop": ("", "stop: {chance: {loss: 2.3, at: 5}}", "runs with a low loss are the good ones"),
    "stop in percent": (
        "",
        "stop: {chance: {accuracy: 12, at: 5}}",
        '"stop.chance.accuracy" must be a share from 0 to 1, got 12',
    ),
    "stop behind the end": (
        "",
        "stop: {chance: {accuracy: 0.12, at: 1000}}",
        '"stop.chance.at" is 1,000, and the longest run takes 40 iterations: no run is stopped',
    ),
    "built in": (
        "  area: {series: test/accuracy, take: mean}",
        "  accuracy: {series: test/loss, take: last}",
        '"metrics.accuracy": accuracy is built in, give this metric another name',
    ),
    "score in percent": (
        "take: mean}",
        "take: first_at_least, value: 60}",
        '"metrics.area.value" must be a share of at most 1, got 60',
    ),
    "distance in percent": (
        "take: argmax}",
        "take: span, within: 5}",
        '"metrics.best_rate.within" must be a share of at most 1, got 5',
    ),
    "least score in percent": (
        "take: argmax}",
        "take: largest, value: 60}",
        '"metrics.best_rate.value" must be a share',
    ),
    "power": (
        "{minus: [train_accuracy, accuracy]}",
        "{quotient: [train_accuracy, accuracy], power: 0}",
        '"metrics.gap.power" must not be 0, with which every quotient is 1',
    ),
    "two of one name": (
        "contrasts:\n",
        "contrasts:\n  - {name: a, metric: loss, of: {variant: merged}}\n"
        "  - {name: a, metric: loss, of: {variant: merged}, expect: '> 0'}\n",
        'line 27 has a contrast "a": give this one another name',
    ),
}


@pytest.mark.parametrize("name", WITHOUT_EFFECT)
def test_what_would_have_no_effect_is_one_line(experiment: Path, name: str) -> None:
    old, new, message = WITHOUT_EFFECT[name]
    path = add(experiment, old, new) if old else add(experiment, "factors:", f"{new}\nfactors:")
    with pytest.raises(UsageError, match=rf"^{re.escape(str(path))}:.*{message}"):
        check_questions(plan_of(path))


SELECTIONS = {
    "left out by only": ("{metric: accuracy, of: {variant: split, eps: small}}", "no run is of split at eps small"),
    "left out here too": (
        "{metric: accuracy, of: {variant: merged}, against: {variant: plain, batch_size: 5}}",
        'against": no run is of plain at batch_size 5',
    ),
    "series": ('{metric: "accuracy@batch", of: {}}', 'of": plain has no "test/accuracy@batch"'),
    "its factor": (
        "{metric: best_rate, of: {variant: merged, base_lr: 0.01}}",
        "best_rate is over all levels of base_lr",
    ),
}


@pytest.mark.parametrize("name", SELECTIONS)
def test_a_contrast_of_runs_that_there_are_not_is_found_before_training(experiment: Path, name: str) -> None:
    contrast, message = SELECTIONS[name]
    path = add(experiment, "contrasts:\n", f"contrasts:\n  - {contrast}\n")
    with pytest.raises(UsageError, match=rf"small.yaml:\d+: .*{message}"):
        check_questions(plan_of(path))


@pytest.mark.parametrize(
    ("take", "over", "level"),
    [("argmax", "eps", "small"), ("span, within: 1", "eps", "small"), ("argmin", "type", "SGD")],
)
def test_a_level_that_is_a_name_is_no_number(experiment: Path, take: str, over: str, level: str) -> None:
    text = experiment.read_text().replace("factors:", "factors:\n  type: [SGD, Adam]")
    experiment.write_text(text[: text.index("quick:")])
    path = add(experiment, "over: base_lr, take: argmax", f"over: {over}, take: {take}")
    with pytest.raises(UsageError, match=rf'small.yaml:\d+: "metrics.best_rate.take": .*"{level}" of {over} is a name'):
        plan_of(path)


def test_a_picture_shows_built_in_metrics_too(experiment: Path) -> None:
    plan = plan_of(add(experiment, "quick:", "picture: {metrics: [train_loss, area]}\nquick:"))
    check_questions(plan)
    assert plan.comparison.picture is not None
    assert plan.comparison.picture.metrics == ("train_loss", "area")


@pytest.mark.usefixtures("workers_here")
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("equal: [plain, merged]", r':{line}: merged against plain: net .* has no parameter "'),
        (
            "probes: [{percentiles: {layer: cov}}]",
            r':6: plain, .*: probe "percentiles": the net has no layer "cov"',
        ),
    ],
)
def test_what_a_run_finds_has_a_line(comparison: Path, tmp_path: Path, line: str, message: str) -> None:
    text = comparison.read_text().replace("equal: [split, merged]\n", "")
    comparison.write_text(f"{text}{line}\n")
    expected = message.replace("{line}", str(text.count("\n") + 1))
    with pytest.raises(UsageError, match=expected):
        compare(comparison, tmp_path / "out", engine="numpy", display=Silent())


def test_tuning_is_checked_before_anything_is_written(comparison: Path, tmp_path: Path) -> None:
    comparison.write_text(f"{comparison.read_text()}seeds: [1]\ntune: {{over: {{momentum: [0.5]}}, seeds: [1]}}\n")
    with pytest.raises(UsageError, match=r'"tune\.seeds" must differ'):
        compare(comparison, tmp_path / "out", engine="numpy", display=Silent())
    assert not (tmp_path / "out").exists()


def test_points_of_costs_are_rounds(experiment: Path) -> None:
    cost = "cost: {settings: {here: {}}}\nmetrics:\n  ms: {series: cost/here/step, take: median, from: 20}\n"
    check_questions(plan_of(add(experiment, "metrics:\n", cost)))


def test_a_picture_over_what_no_run_has_is_found_before_training(comparison: Path) -> None:
    comparison.write_text(f"{comparison.read_text()}picture: {{metric: accuracy, over: base_lr}}\n")
    with pytest.raises(UsageError, match=re.escape('"picture.over": no run has levels of base_lr')):
        check_questions(plan_of(comparison))


def test_a_metric_over_a_factor_that_there_is_not_is_found_before_training(comparison: Path) -> None:
    metrics = "metrics:\n  worst: {of: loss, over: base_lr, take: max}\n"
    text = f"{comparison.read_text()}{metrics}"
    contrast = "contrasts: [{metric: worst, of: {variant: merged}, against: {variant: plain}}]\n"
    line = text.count("\n")
    for more in ("", contrast):  # whether something asks for it or not
        comparison.write_text(text + more)
        with pytest.raises(UsageError, match=rf':{line}: "metrics.worst.over": no run has levels of base_lr$'):
            check_questions(plan_of(comparison))


def test_a_tuning_metric_that_a_variant_has_not_is_found_before_training(experiment: Path) -> None:
    tune = 'tune: {over: {momentum: [0.5, 0.9]}, metric: "accuracy@batch", seeds: [101]}'
    path = add(experiment, "factors:", f"{tune}\nfactors:")
    with pytest.raises(UsageError, match=r'small.yaml:\d+: "tune.metric": plain has no "test/accuracy@batch"'):
        check_questions(plan_of(path))
