from __future__ import annotations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dragon.tools.common.curves import cut_high_start, reasonable_top, whole_iterations


def test_an_untrained_first_value_does_not_flatten_the_rest() -> None:
    assert reasonable_top([[75.0, 2.0, 1.0], [2.5, 1.0]]) == pytest.approx(3.0), "the other first value stays in sight"
    assert reasonable_top([[78.0], [3.3, 1.5, 1.5]]) == pytest.approx(1.2 * 3.3), "a test so far, at iteration 0"
    assert reasonable_top([[2.5, 2.0], [2.4, 1.0]]) is None
    assert reasonable_top([[2.5], []]) is None
    assert reasonable_top([[float("nan"), 75.0, 2.0, 1.0], [float("inf"), 1.0]]) == pytest.approx(2.4)


def test_the_picture_is_cut_on_both_sides_and_says_so() -> None:
    figure = Figure()
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot([75.0, 2.0, 1.0])
    cut_high_start(axes, [[75.0, 2.0, 1.0]])
    low, high = axes.get_ylim()
    assert high == pytest.approx(2.4)
    assert 0.9 < low < 1, "room of the cut height below the least value, not of the full one"
    assert axes.texts[0].get_text() == "starts at 75, above the picture"


@pytest.mark.parametrize("xs", [[0], [0, 1], [0, 1, 2], [0, 3000]])
def test_iterations_are_whole(xs: list[int]) -> None:
    figure = Figure()
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(xs, xs)
    whole_iterations(axes)
    found = axes.get_xticks()
    assert len(found) > 1
    assert all(x == round(x) for x in found)
