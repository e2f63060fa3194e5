from __future__ import annotations

import pytest

from dragon.compare.report.axes import ticks
from dragon.compare.report.lines import Point, Series, chart
from dragon.compare.stats import coincide, interval, median_ratio, smooth


def test_interval() -> None:
    assert interval([2.0]).kind == "one seed"
    two = interval([1.0, 3.0])
    assert (two.mean, two.low, two.high, two.kind) == (2.0, 1.0, 3.0, "smallest to largest")
    three = interval([1.0, 2.0, 3.0])  # t(0.975, 2) = 4.303, standard error 1 / sqrt(3)
    assert three.half == pytest.approx(4.303 / 3**0.5)
    assert "t-interval" in three.kind


def test_coincide() -> None:
    assert coincide([1, 2, 3], [1, 2, 3], 0) == 3
    assert coincide([1, 2, 3], [1, 2.1, 3], 0.01) == 1
    assert coincide([100.0, 1.0], [100.5, 1.0], 0.01) == 2
    assert coincide([1.0, float("nan")], [1.0, float("nan")], 1) == 1


def test_ratio_is_of_pairs() -> None:
    assert median_ratio([1, 10, 1], [2, 20, 2]) == 2


def test_smooth() -> None:
    assert smooth([1.0, 3.0, 5.0], 2) == [(1.5, 2.0), (3.0, 5.0)]


def test_ticks_are_round() -> None:
    assert ticks(0, 100) == [0, 20, 40, 60, 80, 100]
    assert ticks(0.31, 0.68) == pytest.approx([0.4, 0.5, 0.6])


def test_chart_holds_its_lines() -> None:
    svg = chart("a", [Series("<x>", 0, [Point(0, 1, 0.5, 1.5), Point(2, 3, 2.5, 3.5)])], "x", "y", str)
    assert svg.count("<polyline") == svg.count("<polygon") == 1
    assert svg.count("<circle") == 2
    assert "<x>" not in svg
