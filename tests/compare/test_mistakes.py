"""A mistake in an experiment file is one line with its place, before anything is trained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from dragon.compare import compare, session
from dragon.compare.questions import check_questions
from dragon.compare.reading import read_experiment
from dragon.errors import UsageError
from tests.compare.experiment_files import Silent, add, plan_of

pytestmark = pytest.mark.usefixtures("short_measurements")


@pytest.mark.parametrize("seeds", [0, -3, 2.5, True, 10_001, 10**12])
def test_a_number_of_seeds_that_there_cannot_be_is_one_line(comparison: Path, seeds: Any) -> None:
    with pytest.raises(UsageError, match=rf"seeds must be a whole number from 1 to 10,000, got {seeds}$"):
        read_experiment(comparison, seeds=seeds)


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
