from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from dragon.compare.progress import Display, LiveDisplay, PlainDisplay

MESSAGES: list[dict[str, Any]] = [
    {"start": True},
    {"iter": 5, "loss": 2.5},
    {"iter": 10, "test": {"accuracy": 0.25}, "statistics": "global"},
    {"done": True},
]


def play(display: Display) -> None:
    with display:
        display.say("[begin]")
        for message in MESSAGES:
            display.message("run [1]", 20, message)
        display.message("measuring", 0, {"start": True})
        display.message("measuring", 0, {"done": True})


def test_plain_lines() -> None:
    lines: list[str] = []
    play(PlainDisplay(lines.append))
    assert lines[:3] == [
        "[begin]",
        "run [1]: started, 20 iterations",
        "run [1]: iteration 10, global statistics: accuracy 0.2500",
    ]
    assert lines[3].startswith("run [1]: done in ")


def test_live_bars() -> None:
    screen = io.StringIO()
    play(LiveDisplay(Console(file=screen, force_terminal=True, width=120)))
    shown = screen.getvalue()
    assert "[begin]" in shown
    assert "done" in shown
    assert "run [1]: accuracy 0.2500" in shown
