"""Tables in text."""

from __future__ import annotations

from dragon.tools.common.tables import table


def test_table() -> None:
    assert table(["a", "bb"], [["x", 1], ["long", 22]]) == "a     bb\n----  --\nx      1\nlong  22"
