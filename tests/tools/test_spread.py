from __future__ import annotations

import math

import pytest

from dragon.tools.common.accuracies import AccuracyInterval
from dragon.tools.common.spread import Spread, wilson_interval


def test_spread() -> None:
    times = [float(t) for t in range(11, 0, -1)]
    assert Spread.of(times) == Spread(6.0, 6.0, 1.0, 10.0)
    assert Spread.of([2.5]) == Spread(2.5, 2.5, 2.5, 2.5)


@pytest.mark.parametrize(("right", "count"), [(2905, 10_000), (0, 20), (20, 20), (1, 3)])
def test_the_interval_solves_its_equation(right: int, count: int) -> None:
    """Its ends p are where the share that was seen is 1.96 standard deviations of p away."""
    share = right / count
    for end in wilson_interval(share, count):
        distance = abs(share - end)
        assert distance == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / count), abs=1e-6) or end in (0.0, 1.0)
    low, high = wilson_interval(share, count)
    assert 0 <= low <= share <= high <= 1
    assert high - low > 0


def test_the_line_of_an_accuracy() -> None:
    interval = wilson_interval(0.2905, 10_000)
    line = AccuracyInterval("acc", 0.2905, 10_000, 10_000, *interval).text
    assert line == "29.05 % of 10,000 images, 95 % interval 28.2 to 29.9 % (acc)"
    assert AccuracyInterval("acc", 0.5, 30, 24, None, None).text == "50.00 % of 30 images (24 different) (acc)"
