"""Charts against the learning rate: crosses for failed runs, the line of chance, one scale for several charts."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest

from dragon.compare.report import render
from dragon.compare.report.axes import Axis
from dragon.compare.report.lines import Point, Series, plot
from tests.compare.report.reading import Page
from tests.compare.report.results import RATES

Results = dict[str, Any]
SCALE = Axis("y", 0, 100, False, [])


def svg_of(text: str, label: str) -> str:
    start = text.index(f'aria-label="{label}"')
    return text[start : text.index("</svg>", start)]


def y_ticks(svg: str) -> list[str]:
    return re.findall(r'text-anchor="end">([^<]*)</text>', svg)


def test_failed_runs_are_crosses_at_their_own_values(results: Results) -> None:
    plain = next(c for c in results["cells"] if c["levels"]["base_lr"] == 0.1 and c["variant"] != "bn")
    plain |= {"diverged": 2, "failed": [2, 5]}
    svg = svg_of(render(results), "Accuracy against base_lr")
    crosses = re.findall(r'class="cross c(\d)"', svg)
    assert crosses == ["0", "0", "0", "0", "0", "0", "0"], "two of five at 0.1, all five at 1, where all diverged"
    assert "diverged or stopped at chance" in Page(render(results)).text
    for cell in results["cells"]:
        cell |= {"diverged": 0, "stopped": 0}
        cell.pop("failed", None)
    assert "diverged or stopped" not in Page(render(results)).text


def test_chance_is_a_line_where_the_axis_reaches_it(results: Results) -> None:
    svg = svg_of(render(results), "Accuracy against base_lr")
    assert svg.count('class="chance"') == 1
    lines = [Series("s", 0, [Point(0, 50, 50, 50)])]
    x = Axis("x", 0, 1, False, [])
    y = re.findall(r'class="chance" x1="[\d.]+" x2="[\d.]+" y1="([\d.]+)"', plot("a", lines, x, SCALE, str, 50.0))
    mark = re.findall(r'cy="([\d.]+)"', plot("a", lines, x, SCALE, str))
    assert y == mark, "at the height of a point of that value"
    assert "chance" not in plot("a", lines, x, SCALE, str, 101.0)
    for cell in results["cells"]:
        del cell["chance"]
    assert 'class="chance"' not in render(results), "results of an older version"


def test_the_key_names_chance_only_where_a_chart_has_its_line(results: Results) -> None:
    assert 'class="key dotted"' in render(results)
    for cell in results["cells"]:
        cell["chance"] = {"accuracy": 2.0, "loss": 1e9}
    text = render(results)
    assert 'class="chance"' not in text, "no axis reaches it"
    assert 'class="key dotted"' not in text


def test_accuracy_against_the_rate_without_being_asked(results: Results) -> None:
    assert "Against the learning rate" not in Page(render(results)).text, "the first picture shows it"
    results["picture"] = None
    for k, cell in enumerate(results["cells"]):
        cell["levels"]["init"] = "msra" if k % 2 else "caffe"
        cell["levels"]["base_lr"] = RATES[k // 2]
    text = render(results)
    assert "Against the learning rate" in Page(text).text
    one, other = (svg_of(text, f"Accuracy against base_lr, init {init}") for init in ("caffe", "msra"))
    assert y_ticks(one) == y_ticks(other), "one scale"
    places = [float(x) for x in re.findall(r'x="([\d.]+)" y="[\d.]+" text-anchor="middle">[\d.]+<', one)]
    steps = [b - a for a, b in pairwise(places)]
    assert steps == pytest.approx([steps[0]] * 3, abs=0.2), "decades lie evenly"


def test_a_rate_with_two_levels_has_no_curve(results: Results) -> None:
    results["picture"] = None
    results["cells"] = [c for c in results["cells"] if c["levels"]["base_lr"] in RATES[:2]]
    results["contrasts"] = results["factor_metrics"] = []
    assert "Against the learning rate" not in render(results)


def test_charts_of_one_series_share_their_scale(results: Results) -> None:
    results["picture"] = None
    text = render(results)
    for title in (
        "Test accuracy over iterations",
        "Train loss",
        "Weight norm conv1",
        "Weight norm at iteration 1,000 (last)",
    ):
        scales = [y_ticks(svg_of(text, f"{title}, base_lr {rate:g}")) for rate in RATES]
        assert scales[0], title
        assert all(scale == scales[0] for scale in scales), title
