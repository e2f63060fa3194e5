"""Axes, lines, rows: where things are drawn, and that text does not run together."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from dragon.compare.report.axes import HEIGHT, WIDTH, Axis, Frame, linear, logarithmic, named, tick_text
from dragon.compare.report.lines import Point, Series, chart, mark, plot, value_axis
from dragon.compare.report.rows import Dot, dots, strip

CHARACTER = 0.62 * 14  # user units of a digit in the largest size that the style gives
AXES = {
    "iterations": linear("iteration", 0, 50_000, 4),
    "few": linear("iteration", 0, 3, 4),
    "rates": logarithmic("base_lr", 0.0001, 3, [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3]),
    "decades": logarithmic("x", 1e-12, 1e12),
    "one decade": logarithmic("x", 2, 30),
    "batch sizes": logarithmic("batch_size", 2, 512, [2, 4, 8, 16, 32, 64, 128, 256, 512]),
    "layers": named("layer", [f"inception_{k}/conv3x3" for k in range(40)]),
    "one level": logarithmic("x", 0.1, 0.1, [0.1]),
}


@pytest.mark.parametrize("name", AXES)
def test_ticks_do_not_run_together(name: str) -> None:
    axis = AXES[name]
    frame = Frame(axis, linear("y", 0, 1))
    spans = [
        (frame.sx(v) - len(text) * CHARACTER / 2, frame.sx(v) + len(text) * CHARACTER / 2) for v, text in axis.ticks
    ]
    assert spans
    for (_, end), (begin, _) in pairwise(spans):
        assert end < begin
    assert all(axis.low <= v <= axis.high for v, _ in axis.ticks)


def test_logarithmic_places() -> None:
    axis = logarithmic("rate", 0.001, 0.1)
    places = [axis.place(v) for v in (0.001, 0.01, 0.1)]
    assert places == pytest.approx([0, 0.5, 1])
    assert (axis.place(1e-9), axis.place(5.0)) == (0, 1), "outside values are drawn at the ends"


@pytest.mark.parametrize(("low", "high"), [(10, 10), (9.9999999, 10.0000001), (2.30251, 2.30256), (0, 1), (-5, 5)])
def test_ticks_differ_in_their_text(low: float, high: float) -> None:
    axis = linear("y", low, high)
    texts = [text for _, text in axis.ticks]
    assert len(set(texts)) == len(texts) >= 3
    assert all(axis.low <= value <= axis.high for value, _ in axis.ticks)
    assert [float(text) for text in texts] == pytest.approx([value for value, _ in axis.ticks], rel=1e-7)


def test_tick_texts() -> None:
    assert [tick_text(v) for v in (0, 0.5, 2000, 1e5, 1e-5, 1e12, -3, 0.25)] == [
        "0", "0.5", "2,000", "1e5", "1e-5", "1e12", "-3", "0.25",
    ]  # fmt: skip


def test_values_of_many_sizes_have_a_logarithmic_axis() -> None:
    points = [Point(k, 10.0**k, 10.0**k, 10.0**k) for k in range(5)]
    assert value_axis("norm", points).log
    assert not value_axis("norm", points[:2]).log
    assert not value_axis("loss", [*points, Point(9, 0, 0, 0)]).log, "zero has no logarithm"


def test_error_bars_and_bands() -> None:
    points = [Point(0.01, 50, 40, 60), Point(0.1, 60, 55, 65)]
    x, y = logarithmic("rate", 0.01, 0.1, [0.01, 0.1]), Axis("y", 0, 100, False, [])
    svg = plot("a", [Series("s", 1, points, bars=True)], x, y, str)
    bars = re.findall(r'class="bar c1" x1="([\d.]+)" x2="\1" y1="([\d.]+)" y2="([\d.]+)"', svg)
    frame = Frame(x, y)
    assert [float(v) for v in bars[0][1:]] == pytest.approx([frame.sy(40), frame.sy(60)], abs=0.06)
    assert len(bars) == 2
    assert "band" not in svg
    assert chart("a", [Series("s", 1, points)], "x", "y", str).count('class="band') == 1


def test_marks_differ_in_shape() -> None:
    shapes = {re.sub(r"c\d", "", mark(kind, 5, 5)) for kind in range(4)}
    assert len(shapes) == 4
    assert re.sub("c4", "c0", mark(4, 5, 5)) == mark(0, 5, 5)


def test_long_lines_have_few_marks_and_one_at_the_end() -> None:
    svg = chart("a", [Series("s", 0, [Point(k, k, k, k) for k in range(500)])], "x", "y", str)
    marks = re.findall(r"<circle.*?<title>s, (\d+):", svg)
    assert 10 <= len(marks) <= 20
    assert marks[-1] == "499"


def edges(svg: str) -> tuple[float, float]:
    found = re.search(r'class="expected" x="([\d.]+)" y="2" width="([\d.]+)"', svg)
    assert found is not None
    return float(found[1]), float(found[1]) + float(found[2])


def test_strip_shows_the_interval_beside_what_is_expected() -> None:
    infinite = float("inf")
    low, high = edges(strip("a", 5, (3, 7), (0.0, infinite), "x"))
    assert high == pytest.approx(WIDTH - 16), "an open range goes on to the end"
    apart = strip("a", 5, (3, 7), (-1.0, 1.0), "x")
    bar = re.search(r'class="bar c0" x1="([\d.]+)"', apart)
    assert bar is not None
    assert edges(apart)[1] < float(bar[1])
    inside = strip("a", 5, (3, 7), (-infinite, 9.0), "x")
    assert edges(inside)[0] == pytest.approx(16)
    assert low > 16


def test_dots_have_a_row_each() -> None:
    svg = dots("a", [Dot("<a>", 1, 0.5, 1.5, 0), Dot("b", 2, 2, 2, 1)], "x", str)
    assert svg.count('class="row"') == 2
    assert "&lt;a&gt;: 1" in svg
    assert dots("a", [], "x", str) == "<p>Nothing to draw.</p>"


def test_everything_lies_in_the_picture() -> None:
    series = [Series("s", 0, [Point(0, 1e9, -1e9, 1e10), Point(7, -5, -5, 1e10)])]
    places = " ".join(re.findall(r'points="([^"]+)"', chart("a", series, "x", "y", str)))
    for x, y in (pair.split(",") for pair in places.split()):
        assert 0 <= float(x) <= WIDTH
        assert 0 <= float(y) <= HEIGHT
