from __future__ import annotations

import pytest
from rich.cells import cell_len

from dragon.columns import columns, terminal_width

HEAD = ["layer", "type", "tops", "parameters", "multiply-adds", "MiB"]
ROWS = [
    ["conv1", "Convolution", "100x32x32x32", "2,432", "245,760,000", "12.50"],
    ["inception_3a/5x5_reduce_with_a_long_name", "Convolution (added)", "1x2, 3x4x5", "1,318 + 12", "1", "0.01"],
]
FIGURES = [cell for row in ROWS for cell in row[3:]]


def test_as_wide_as_needed_without_a_terminal() -> None:
    assert columns(["a", "bb"], [["x", 1], ["long", 22]]) == "a     bb\n----  --\nx      1\nlong  22"
    assert columns(["a", "bb"], [["x", 1], ["long", 22]], rule=False) == "a     bb\nx      1\nlong  22"
    assert max(map(len, columns(HEAD, ROWS, (0, 1, 2)).splitlines())) > 100


@pytest.mark.parametrize("width", [200, 110, 100, 80, 70, 60, 40, 24, 20, 12])
def test_no_line_is_longer_and_no_figure_divided(width: int) -> None:
    text = columns(HEAD, ROWS, (0, 1, 2), width)
    assert max(map(len, text.splitlines())) <= width
    if width >= 20:
        assert [figure for figure in FIGURES if figure not in text] == []
    together = "".join(text.split())
    if width in (12, 20):  # a line for each column, so that a name continues right below
        assert "inception_3a/5x5_reduce_with_a_long_name" in together


def test_text_continues_on_the_next_line() -> None:
    assert columns(["name", "n"], [["one two three", 12345]], width=15) == (
        "name          n\n--------  -----\none two   12345\nthree"
    )


def test_a_row_becomes_a_block_where_the_figures_fill_the_line() -> None:
    assert columns(["name", "first", "second"], [["a", 1, 22], ["b", 33, 4]], width=16) == (
        "name    a\nfirst   1\nsecond  22\n\nname    b\nfirst   33\nsecond  4"
    )


def test_wide_characters_take_two_cells() -> None:
    text = columns(["name", "n"], [["層一", 1], ["abcdef", 2]])
    assert {cell_len(line) for line in text.splitlines()[2:]} == {9}
    assert all(cell_len(line) <= 9 for line in columns(["a", "b"], [["層" * 20, 1]], width=9).splitlines())


def test_the_width_is_that_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "61")
    assert terminal_width() is None
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert terminal_width() == 61
