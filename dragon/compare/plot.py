"""Line charts as inline SVG. Colours come from the page's style (classes c0, c1, ...), so they suit light and dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["COLOURS", "Point", "Series", "chart", "ticks"]

COLOURS = 8  # classes c0 .. c7 of report.css

_W, _H = 560, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 14, 44


@dataclass(frozen=True)
class Point:
    """A point of a line: x, y, and the interval low..high around y."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class Series:
    """A line. colour: class c0, c1, ... of the page's style, modulo COLOURS. marks: draw a dot at each point."""

    name: str
    colour: int
    points: Sequence[Point]
    dashed: bool = False
    marks: bool = True
    wide: bool = False


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """About `about` round numbers between low and high."""
    span = (high - low) or 1.0
    raw = span / about
    base = 10 ** math.floor(math.log10(raw))
    step = next(base * k for k in (1, 2, 2.5, 5, 10) if base * k >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def chart(
    label: str, series: Sequence[Series], x_name: str, y_name: str, number: Callable[[float], str], zero: bool = False
) -> str:
    """An <svg> with axes, grid, and for each series a line, its intervals as a band. zero: the y axis begins at 0."""
    points = [p for s in series for p in s.points]
    if not points:
        return "<p>Nothing to draw.</p>"
    x_low, x_high = 0.0, max(p.x for p in points)
    y_low, y_high = _range(points, zero)

    def sx(x: float) -> float:
        return _LEFT + (x - x_low) / ((x_high - x_low) or 1) * (_W - _LEFT - _RIGHT)

    def sy(y: float) -> float:
        inside = min(max(y, y_low), y_high)
        return _H - _BOTTOM - (inside - y_low) / (y_high - y_low) * (_H - _TOP - _BOTTOM)

    parts = [f'<svg viewBox="0 0 {_W} {_H}" role="img" aria-label="{escape(label)}">']
    for y in ticks(y_low, y_high):
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_W - _RIGHT}" y1="{sy(y):.1f}" y2="{sy(y):.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 7}" y="{sy(y) + 4:.1f}" text-anchor="end">{number(y)}</text>')
    floor = _H - _BOTTOM
    parts += [
        f'<text class="tick" x="{sx(x):.1f}" y="{floor + 18}" text-anchor="middle">{x:,.0f}</text>'
        for x in ticks(x_low, x_high, 6)
    ]
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_W - _RIGHT}" y1="{floor}" y2="{floor}"/>')
    parts.append(f'<text class="name" x="{(_LEFT + _W) / 2}" y="{_H - 6}" text-anchor="middle">{escape(x_name)}</text>')
    middle = (_TOP + floor) / 2
    turned = f'transform="translate(13 {middle}) rotate(-90)" text-anchor="middle"'
    parts.append(f'<text class="name" {turned}>{escape(y_name)}</text>')
    parts += [_band(s, sx, sy) for s in series]
    parts += [_line(s, sx, sy, number) for s in series]
    return "".join([*parts, "</svg>"])


def _range(points: Sequence[Point], zero: bool) -> tuple[float, float]:
    """Limits of the y axis: those of the values with a margin; wide intervals may be clipped."""
    low, high = min(p.y for p in points), max(p.y for p in points)
    span = (high - low) or max(abs(high), 1e-9)
    low = max(min(p.low for p in points), low - 0.35 * span) - 0.05 * span
    high = min(max(p.high for p in points), high + 0.35 * span) + 0.05 * span
    return (0.0 if zero and low > 0 else low), high


def _band(s: Series, sx: Callable[[float], float], sy: Callable[[float], float]) -> str:
    if all(p.low == p.high for p in s.points):
        return ""
    upper = [f"{sx(p.x):.1f},{sy(p.high):.1f}" for p in s.points]
    lower = [f"{sx(p.x):.1f},{sy(p.low):.1f}" for p in reversed(s.points)]
    return f'<polygon class="band c{s.colour % COLOURS}" points="{" ".join(upper + lower)}"/>'


def _line(s: Series, sx: Callable[[float], float], sy: Callable[[float], float], number: Callable[[float], str]) -> str:
    path = " ".join(f"{sx(p.x):.1f},{sy(p.y):.1f}" for p in s.points)
    kind = "line" + " dashed" * s.dashed + " wide" * s.wide
    drawn = [f'<polyline class="{kind} c{s.colour % COLOURS}" points="{path}"/>']
    if s.marks:
        drawn += [
            f'<circle class="mark c{s.colour % COLOURS}" cx="{sx(p.x):.1f}" cy="{sy(p.y):.1f}" r="2.6">'
            f"<title>{escape(s.name)}, {p.x:,.0f}: {number(p.y)}</title></circle>"
            for p in s.points
        ]
    return "".join(drawn)
