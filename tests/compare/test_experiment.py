"""Experiments run whole: shared runs, probes, surgery, tuning, and how they are found."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from dragon import models
from dragon.compare import compare
from dragon.compare.listing import find_experiment, list_experiments
from dragon.compare.reading import read_experiment
from dragon.compare.tuning import plan_tuning
from dragon.data import write_synthetic
from dragon.errors import UsageError
from tests.compare.experiment_files import Silent, add, plan_of, results_of

pytestmark = pytest.mark.usefixtures("short_measurements")


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
