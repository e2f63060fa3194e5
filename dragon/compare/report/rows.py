"""Charts of rows: a dot with its interval for each, and the strip of one interval beside what is expected."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from dragon.compare.report.axes import WIDTH, Axis, linear
from dragon.compare.report.lines import COLOURS, mark

__all__ = ["Dot", "dots", "strip"]

_ROW, _HEAD, _FOOT, _SIDE = 40, 6, 42, 16
_STRIP_HEIGHT = 74


@dataclass(frozen=True)
class Dot:
    """A row: name, value with interval, and colour."""

    name: str
    value: float
    low: float
    high: float
    colour: int


def dots(label: str, rows: Sequence[Dot], x_name: str, number: Callable[[float], str]) -> str:
    """An <svg> with a row for each value: its name above, the dot and its interval below."""
    if not rows:
        return "<p>Nothing to draw.</p>"
    low, high = min(min(r.low, r.value) for r in rows), max(max(r.high, r.value) for r in rows)
    margin = 0.06 * ((high - low) or abs(high) or 1)
    axis = linear(x_name, low - margin, high + margin, 5)
    height = _HEAD + _ROW * len(rows) + _FOOT
    floor = height - _FOOT
    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">']
    parts += [
        f'<line class="grid" x1="{_x(axis, v):.1f}" x2="{_x(axis, v):.1f}" y1="0" y2="{floor}"/>' for v, _ in axis.ticks
    ]
    for k, row in enumerate(rows):
        y = _HEAD + _ROW * k + 28
        shown = f"{row.name}: {number(row.value)}"
        parts.append(f'<text class="row" x="{_SIDE}" y="{y - 12}">{escape(shown)}</text>')
        parts.append(_interval(axis, y, row.value, row.low, row.high, row.colour))
    parts += _foot(axis, floor)
    return "".join([*parts, "</svg>"])


def strip(label: str, mean: float, interval: tuple[float, float], expected: tuple[float, float], axis_name: str) -> str:
    """An <svg> of one interval beside the range that is expected, whose infinite ends run out of the picture."""
    edges = [e for e in expected if math.isfinite(e)]
    low, high = min(mean, *interval, *edges), max(mean, *interval, *edges)
    margin = 0.18 * ((high - low) or abs(high) or 1)
    axis = linear(axis_name, low - margin, high + margin, 5)
    begin, end = (_x(axis, min(max(e, axis.low), axis.high)) for e in expected)
    floor = _STRIP_HEIGHT - 34
    parts = [
        f'<svg class="strip" viewBox="0 0 {WIDTH} {_STRIP_HEIGHT}" role="img" aria-label="{escape(label)}">',
        f'<rect class="expected" x="{begin:.1f}" y="2" width="{max(0.0, end - begin):.1f}" height="{floor - 2}"/>',
    ]
    parts += [f'<line class="edge" x1="{_x(axis, e):.1f}" x2="{_x(axis, e):.1f}" y1="2" y2="{floor}"/>' for e in edges]
    parts.append(_interval(axis, 0.55 * floor, mean, *interval, 0))
    return "".join([*parts, *_foot(axis, floor), "</svg>"])


def _x(axis: Axis, value: float) -> float:
    return _SIDE + axis.place(value) * (WIDTH - 2 * _SIDE)


def _interval(axis: Axis, y: float, value: float, low: float, high: float, colour: int) -> str:
    kind = f"c{colour % COLOURS}"
    return (
        f'<line class="bar {kind}" x1="{_x(axis, low):.1f}" x2="{_x(axis, high):.1f}" y1="{y}" y2="{y}"/>'
        + "".join(
            f'<line class="bar {kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 5}" y2="{y + 5}"/>'
            for x in (_x(axis, low), _x(axis, high))
        )
        + mark(colour, _x(axis, value), y, 5)
        + "/>"
    )


def _foot(axis: Axis, floor: float) -> list[str]:
    return [
        f'<line class="axis" x1="{_SIDE}" x2="{WIDTH - _SIDE}" y1="{floor}" y2="{floor}"/>',
        *(
            f'<text class="tick" x="{_x(axis, v):.1f}" y="{floor + 16}" text-anchor="middle">{escape(text)}</text>'
            for v, text in axis.ticks
        ),
        f'<text class="name" x="{WIDTH / 2}" y="{floor + 33}" text-anchor="middle">{escape(axis.name)}</text>',
    ]
