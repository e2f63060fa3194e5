"""Which figures of runs that diverged were put in for them, and which way worse runs have a metric."""

from __future__ import annotations

import pytest

from dragon.compare.config import Metric
from dragon.compare.imputed import is_imputed, undecided_ends, worse_sign
from tests.compare.test_metrics import record

METRICS = {
    "accuracy": Metric("accuracy", series="test/accuracy"),
    "train_accuracy": Metric("train_accuracy", series="train/accuracy"),
    "best": Metric("best", "max", "test/accuracy"),
    "early": Metric("early", "at", "test/accuracy", iter=5),
    "steps": Metric("steps", "first_at_least", "test/accuracy", value=0.3),
    "steps_to_90": Metric("steps_to_90", "first_at_least", "test/accuracy", value=0.9),
    "gap": Metric("gap", minus=("train_accuracy", "accuracy")),
    "loss": Metric("loss", series="test/loss"),
    "norm": Metric("norm", series="probe/weight_norm/conv1"),
    "moves": Metric("moves", "sd", "test/loss"),
    "best_loss": Metric("best_loss", "min", of="loss", over="base_lr"),
    "best_rate": Metric("best_rate", "argmax", of="accuracy", over="base_lr"),
    "ms_per_iteration": Metric("ms_per_iteration", "time"),
}
DIVERGED = record(
    diverged="NaN",
    done=10,
    series={
        "test/accuracy": ([5, 10], [0.2, 0.4]),
        "train/accuracy": ([5, 10], [0.2, 0.4]),
        "probe/weight_norm/conv1": ([0, 5], [1.0, 2.0]),
    },
)


@pytest.mark.parametrize(
    ("name", "imputed"),
    [
        ("accuracy", True),
        ("gap", True),  # chance less chance: 0, whatever chance is
        ("steps_to_90", True),
        ("best", False),
        ("early", False),
        ("steps", False),
        ("norm", False),
        ("ms_per_iteration", False),
    ],
)
def test_what_was_measured_before_a_run_diverged_is_not_imputed(name: str, imputed: bool) -> None:
    assert is_imputed(METRICS[name], DIVERGED, METRICS) is imputed
    assert not is_imputed(METRICS[name], {**DIVERGED, "diverged": None}, METRICS)


@pytest.mark.parametrize(
    ("name", "imputed"), [("loss", True), ("accuracy", False), ("best", False), ("steps_to_90", False)]
)
def test_tests_that_give_nan_in_a_run_that_goes_on_are_imputed(name: str, imputed: bool) -> None:
    """Here in the last test alone."""
    goes_on = {**DIVERGED, "diverged": None, "done": 20}
    goes_on["series"] = {"test/accuracy": ([10, 20], [0.2, 0.4]), "test/loss": ([10, 20], [2.0, None])}
    assert is_imputed(METRICS[name], goes_on, METRICS) is imputed


@pytest.mark.parametrize(
    ("name", "sign"),
    [
        ("accuracy", -1),
        ("best", -1),
        ("loss", 1),
        ("best_loss", 1),
        ("steps", 1),
        ("gap", 0),
        ("moves", 0),
        ("best_rate", 0),
    ],
)
def test_which_way_worse_runs_have_a_metric(name: str, sign: int) -> None:
    assert worse_sign(name, METRICS) == sign


def test_the_end_towards_worse_runs_is_open() -> None:
    low, high = undecided_ends(-2, -1, 1)
    assert low == -2
    assert high > 1e300
    low, high = undecided_ends(-2, -1, -1)
    assert low < -1e300
    assert high == -1
    assert undecided_ends(1, 2, 0)[0] < 0 < undecided_ends(1, 2, 0)[1]
