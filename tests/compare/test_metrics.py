"""Numbers taken from series, of runs that ended early too."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from dragon.compare.config import Metric
from dragon.compare.metrics import (
    builtin_metrics,
    curve,
    lower_is_better,
    measure,
    measure_over,
    never_reached,
    resolve_metric,
)

CURVE = ([5, 10, 15, 20], [0.2, 0.4, 0.7, 0.6])


def record(**changes: Any) -> dict[str, Any]:
    """A run of 20 iterations with a test every 5; ten classes."""
    found = {
        "series": {"test/accuracy": CURVE, "train/loss": (list(range(1, 21)), [2.0 - 0.05 * k for k in range(20)])},
        "iterations": 20, "done": 20, "test_interval": 5, "diverged": None, "stopped": None,
        "chance": {"accuracy": 0.1, "loss": math.log(10)}, "train_s": 4.0,
    }  # fmt: skip
    return {**found, **changes}


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        (Metric("m", "last", "test/accuracy"), 0.6),
        (Metric("m", "first", "test/accuracy"), 0.2),
        (Metric("m", "mean", "test/accuracy"), 0.475),
        (Metric("m", "mean", "test/accuracy", start=15), 0.65),
        (Metric("m", "mean", "test/accuracy", start=8, end=16), 0.55),
        (Metric("m", "mean", "test/accuracy", start=21), None),
        (Metric("m", "max", "test/accuracy"), 0.7),
        (Metric("m", "min", "test/accuracy"), 0.2),
        (Metric("m", "at", "test/accuracy", iter=10), 0.4),
        (Metric("m", "at", "test/accuracy", iter=14), 0.7),
        (Metric("m", "first_at_least", "test/accuracy", value=0.5), 15),
        (Metric("m", "first_at_least", "test/accuracy", value=0.9), 20),
        (Metric("m", "ratio", "test/accuracy", start=5, end=20), 3),
        (Metric("m", "slope", "train/loss"), -0.05),
        (Metric("m", "median", "test/accuracy"), 0.5),
        (Metric("m", "sd", "test/accuracy", start=10, end=15), 0.15),
        (Metric("m", "mean", "test/accuracy", start="50%"), 17 / 30),
        (Metric("m", "mean", "test/accuracy", end="50%"), 0.3),
        (Metric("m", "at", "test/accuracy", iter="75%"), 0.7),
        (Metric("m", "ratio", "test/accuracy", start="25%", end="100%"), 3),
        (Metric("m", "mean", "test/accuracy", start=16, end=19), None),
        (Metric("m", "sd", "test/accuracy", start="100%"), None),  # of one point, as the next three
        (Metric("m", "slope", "test/accuracy", start="100%"), None),
        (Metric("m", "ratio", "test/accuracy", start=19, end=30), None),
        (Metric("m", "median", "test/accuracy", start="100%"), 0.6),
        (Metric("m", "last", "test/other"), None),
        (Metric("ms_per_iteration", "time"), 200),
    ],
)
def test_takes(metric: Metric, value: float | None) -> None:
    assert measure(metric, record(), {}) == (value if value is None else pytest.approx(value))


def test_the_mean_over_the_series_that_a_name_fits() -> None:
    run = record()
    run["series"] |= {f"probe/p/{name}/p50": ([0, 20], [first, 1.0]) for name, first in (("a", 0.0), ("b", 5.0))}
    run["series"] |= {"probe/p/a/p85": ([0, 20], [9.0, 9.0]), "probe/p/c/p50": ([0, 20], [None, None])}
    for take, value in {"sd": (0.5 + 2) / 2, "first": 2.5, "last": 1.0}.items():
        assert measure(Metric("m", take, "probe/p/*/p50"), run, {}) == pytest.approx(value)
    assert measure(Metric("m", "mean", "probe/q/*"), run, {}) is None


def test_series_less_and_per_another() -> None:
    run = record()
    run["series"] |= {"probe/p/a/max": ([0, 10], [5.0, 9.0]), "probe/p/a/min": ([0, 10], [1.0, None])}
    run["series"] |= {"probe/p/b/max": ([0, 10], [3.0, 3.0]), "probe/p/b/min": ([0, 10], [1.0, 2.0])}
    run["series"] |= {"probe/p/a/norm": ([0, 10], [2.0, 2.0]), "probe/p/b/norm": ([0, 10], [0.0, 4.0])}
    band = Metric("m", "mean", "probe/p/*/max", less="probe/p/*/min")
    assert measure(band, run, {}) == pytest.approx((4 + (2 + 1) / 2) / 2)
    assert measure(replace(band, per="probe/p/*/norm"), run, {}) == pytest.approx((4 / 2 + 1 / 4) / 2)
    assert measure(replace(band, series="probe/p/a/max", less="probe/p/b/min"), run, {}) == pytest.approx((4 + 7) / 2)
    assert measure(replace(band, less="probe/p/c/min"), run, {}) is None


def test_builtin_metrics_and_differences() -> None:
    run = record()
    run["series"] |= {
        "test/accuracy@batch": ([20], [0.5]),
        "train/accuracy": ([20], [0.9]),
        "train/loss@tested": ([20], [1]),
    }
    metrics = builtin_metrics(list(run["series"])) | {"gap": Metric("gap", minus=("train_accuracy", "accuracy"))}
    assert {name: measure(metric, run, metrics) for name, metric in metrics.items()} == pytest.approx(
        {
            "accuracy": 0.6, "accuracy@batch": 0.5, "train_accuracy": 0.9, "gap": 0.3, "train_loss": 1.525,
            "ms_per_iteration": 200, "train_s": 4,
        }
    )  # fmt: skip


def test_a_diverged_run_goes_on_at_chance() -> None:
    series = {
        "test/accuracy": ([5, 10], [0.2, None]),
        "test/loss@batch": ([5], [2.0]),
        "train/loss": ([1, 2], [3.0, 9.0]),
    }
    run = record(series=series, diverged="the loss is NaN", done=12)
    assert curve(run, "test/accuracy") == ([5, 10, 15, 20], [0.2, 0.1, 0.1, 0.1])
    assert curve(run, "test/loss@batch") == ([5, 10, 15, 20], [2.0, *[math.log(10)] * 3])
    assert measure(Metric("m", "mean", "test/accuracy"), run, {}) == pytest.approx(0.125)
    assert measure(Metric("m", "tail", "train/loss"), run, {}) == pytest.approx((12 + 8 * math.log(10)) / 10)


def test_a_run_that_diverged_before_its_first_test_counts_too() -> None:
    run = record(series={"rate": ([], [])}, diverged="the loss is NaN", done=0)
    assert measure(Metric("m", "last", "test/accuracy"), run, {}) == 0.1
    assert measure(Metric("m", "last", "probe/weight_norm/conv1"), run, {}) is None


def test_a_run_stopped_at_chance_goes_on_with_its_last_score() -> None:
    run = record(series={"test/accuracy": ([5, 10], [0.1, 0.12])}, stopped="chance", done=10)
    assert curve(run, "test/accuracy") == ([5, 10, 15, 20], [0.1, 0.12, 0.12, 0.12])


@pytest.mark.parametrize(
    ("take", "value"), [("max", 0.7), ("min", 0.1), ("mean", 0.475), ("argmax", 0.1), ("argmin", 1), ("span", 10)]
)
def test_takes_over_a_factor(take: str, value: float) -> None:
    levels: dict[float | int | str, float | None] = {0.001: 0.42, 0.01: 0.68, 0.1: 0.7, 1: 0.1}
    assert measure_over(Metric("m", take, of="accuracy", over="base_lr", within=0.05), levels) == pytest.approx(value)


def test_a_span_is_of_levels_that_score_enough() -> None:
    chance: dict[float | int | str, float | None] = {0.001: 0.1, 0.01: 0.1, 0.1: 0.11}
    metric = Metric("m", "span", of="accuracy", over="base_lr", within=0.05, value=0.2)
    assert measure_over(metric, chance) is None
    assert measure_over(metric, chance | {1: 0.21, 10: 0.25}) == 10
    metric = Metric("m", "largest", of="accuracy", over="base_lr", value=0.2)
    assert measure_over(metric, chance) is None
    assert measure_over(metric, {0.1: 0.3, 1: 0.21, 10: 0.1}) == 1


def test_quotients() -> None:
    run = record()
    metrics = {
        "first": Metric("first", "first", "test/accuracy"),
        "last": Metric("last", "last", "test/accuracy"),
        "none": Metric("none", "last", "test/other"),
        "zero": Metric("zero", minus=("last", "last")),
        "below": Metric("below", minus=("first", "last")),
        "growth": Metric("growth", quotient=("last", "first")),
        "squared": Metric("squared", quotient=("last", "first"), power=2),
    }
    assert measure(metrics["growth"], run, metrics) == pytest.approx(3)
    assert measure(metrics["squared"], run, metrics) == pytest.approx(9)
    for a, b in [("first", "none"), ("first", "zero"), ("below", "last")]:
        assert measure(Metric("m", quotient=(a, b), power=0.5), run, metrics) is None
    assert measure(Metric("m", quotient=("last", "first"), power=1e6), run, metrics) is None, "too large for a number"
    assert [m.name for m in resolve_metric("growth", metrics)] == ["growth", "last", "first"]


@pytest.mark.parametrize(("power", "value"), [(600, None), (-600, 0.0), (-3, 3.0**-3), (3, 27.0)])
def test_a_value_beyond_what_statistics_can_take_is_none(power: float, value: float | None) -> None:
    metrics = {name: Metric(name, name, "test/accuracy") for name in ("first", "last")}
    found = measure(Metric("m", quotient=("last", "first"), power=power), record(), metrics)
    assert found == (None if value is None else pytest.approx(value))


def test_a_run_that_never_gets_to_a_score_is_told_from_one_that_does_at_the_end() -> None:
    run = record()
    there, beyond = (Metric("m", "first_at_least", "test/accuracy", value=value) for value in (0.7, 0.71))
    assert (never_reached(there, run), never_reached(beyond, run)) == (False, True)
    assert measure(beyond, run, {}) == run["iterations"]
    assert never_reached(replace(there, end=0), run), "not within its part of the run"
    assert not never_reached(replace(beyond, take="max"), run)


def test_levels_without_a_value_are_left_out() -> None:
    metric = Metric("m", "argmax", of="accuracy", over="base_lr")
    assert measure_over(metric, {1: None, 2: 0.5}) == 2
    assert measure_over(metric, {1: None}) is None


def test_metrics_of_metrics() -> None:
    metrics = {"a": Metric("a", series="x"), "b": Metric("b", minus=("a", "c")), "c": Metric("c", minus=("b", "a"))}
    assert [m.name for m in resolve_metric("a", metrics)] == ["a"]
    with pytest.raises(KeyError, match="'b'"):
        resolve_metric("b", metrics)


def test_a_test_that_gave_nan_scores_chance_in_a_run_that_goes_on() -> None:
    run = record(series={"test/loss": ([5, 10], [2.0, None]), "probe/p/x": ([5, 10], [2.0, None])})
    assert measure(Metric("m", "last", "test/loss"), run, {}) == pytest.approx(math.log(10))
    assert measure(Metric("m", "last", "probe/p/x"), run, {}) == 2.0


def test_levels_that_failed_are_not_chosen() -> None:
    levels: dict[float | int | str, float | None] = {0.01: 0.12, 0.1: 0.09, 1: 0.1, 10: 0.1}
    span = Metric("m", "span", of="accuracy", over="base_lr", within=0.05)
    assert measure_over(span, levels) == pytest.approx(1000)
    assert measure_over(span, levels, failed=[1, 10]) == pytest.approx(10)
    assert measure_over(span, levels, failed=list(levels)) is None
    best = Metric("m", "argmax", of="accuracy", over="base_lr")
    assert measure_over(best, {0.01: 0.09, 1: 0.1}, failed=[1]) == 0.01
    assert measure_over(best, {0.01: 0.09, 1: 0.1}, failed=[0.01, 1]) == 1
    assert measure_over(Metric("m", "mean", of="accuracy", over="base_lr"), {1: 0.5, 2: 0.1}, failed=[2]) == 0.3


def test_the_span_of_a_loss_is_where_it_is_low() -> None:
    levels: dict[float | int | str, float | None] = {0.01: 2.3, 0.1: 0.5, 1: 0.52, 10: 9.0}
    span = Metric("m", "span", of="loss", over="base_lr", within=0.05)
    assert measure_over(span, levels, lower=True) == pytest.approx(10)
    assert measure_over(Metric("m", "span", value=3, within=9), levels, lower=True) == pytest.approx(100)


def test_which_metrics_are_better_when_they_are_low() -> None:
    metrics = builtin_metrics(["test/accuracy", "test/loss@batch"]) | {
        "steps": Metric("steps", "first_at_least", "test/accuracy", value=0.5),
        "area": Metric("area", "mean", "test/loss"),
        "gap": Metric("gap", minus=("loss@batch", "accuracy")),
        "best": Metric("best", "max", of="accuracy", over="base_lr"),
    }
    low = {name for name in metrics if lower_is_better(name, metrics)}
    assert low == {"loss@batch", "train_loss", "ms_per_iteration", "train_s", "steps", "area", "gap"}
