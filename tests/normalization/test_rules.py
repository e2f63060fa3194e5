"""The rules of the running average: their numbers, what they store and what TEST reads."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.memory.storage import Array
from dragon.normalization.rules import Averaging, averaging
from dragon.proto import dragon_pb2 as pb

RULES = ("CAFFE", "EMA", "CUMULATIVE", "LATEST")
BATCHES = [(1.0, 2.0), (5.0, 3.0), (-2.0, 7.0)]  # mean and biased variance


def rule(name: str, fraction: float = 0.75) -> Averaging:
    return averaging(pb.AverageRule.Value(name), fraction)


def run(average: Averaging, batches: list[tuple[float, float]], weight: Array | None, count: int = 5) -> list[float]:
    """The mean and the variance that are stored in the end."""
    mean, variance = np.zeros(1), np.zeros(1)
    for m, v in batches:
        average.accumulate((mean, variance), weight, (np.array([m]), np.array([v])), count)
    return [float(mean[0]), float(variance[0])]


@pytest.mark.parametrize(
    ("name", "old", "new"), [("CAFFE", 0.75, 1), ("EMA", 0.75, 0.25), ("CUMULATIVE", 1, 1), ("LATEST", 0.25, 0.75)]
)
def test_weights_of_old_and_new(name: str, old: float, new: float) -> None:
    assert (rule(name).momentum, rule(name).new) == (old, new)


@pytest.mark.parametrize("name", RULES)
def test_stored_and_read(name: str) -> None:
    """Against sums over all batches, each weighted by what came after it."""
    average, weight = rule(name), np.zeros(1)
    stored = run(average, BATCHES, weight)
    weights = [average.new * average.momentum**age for age in (2, 1, 0)]
    variances = [v * (5 / 4 if name == "CAFFE" else 1) for _, v in BATCHES]
    sums = [np.dot(weights, [m for m, _ in BATCHES]), np.dot(weights, variances)]
    held = np.divide(sums, sum(weights)) if name == "CUMULATIVE" else sums
    np.testing.assert_allclose(stored, held, rtol=1e-12)
    np.testing.assert_allclose(weight, sum(weights), rtol=1e-12)
    read = average.read((np.array(stored[:1]), np.array(stored[1:])), weight)
    np.testing.assert_allclose(np.ravel(read), np.divide(sums, sum(weights)), rtol=1e-12)


def test_only_caffe_corrects_the_variance_and_not_of_one_value() -> None:
    assert [rule(name).correction(4) for name in RULES] == [4 / 3, 1, 1, 1]
    assert rule("CAFFE").correction(1) == 1


@pytest.mark.parametrize(
    ("name", "mean", "after"), [("CAFFE", 0, 12), ("EMA", 8, 7.5), ("CUMULATIVE", 8, 6), ("LATEST", 8, 6.5)]
)
def test_statistics_with_a_weight_of_zero(name: str, mean: float, after: float) -> None:
    """CAFFE reads them as 0, the others as they stand; the next batch, of mean 6, joins them or replaces them."""
    average, weight = rule(name), np.zeros(1)
    running = np.array([8.0]), np.array([8.0])
    np.testing.assert_allclose(average.read(running, weight), mean)
    average.accumulate(running, weight, (np.array([6.0]), np.array([6.0])), 1)
    np.testing.assert_allclose(average.read(running, weight)[0], after)


@pytest.mark.parametrize("name", RULES)
def test_without_a_weight(name: str) -> None:
    """A moving average can do without; a sum or a count cannot."""
    average = rule(name)
    if name in ("CAFFE", "CUMULATIVE"):
        with pytest.raises(ValueError, match="needs a weight"):
            run(average, BATCHES, None)
    else:
        weighted = run(average, BATCHES, np.zeros(1))
        assert run(average, BATCHES, None) == weighted
        assert float(average.read((np.ones(1), np.ones(1)), None)[0][0]) == 1


def test_unknown_rule() -> None:
    with pytest.raises(ValueError, match="no averaging rule 4"):
        averaging(4, 0.5)
