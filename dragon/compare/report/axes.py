"""Axes of charts in inline SVG: linear, logarithmic and by name, with round ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["HEIGHT", "WIDTH", "Axis", "Frame", "linear", "logarithmic", "named", "tick_text", "ticks"]

WIDTH, HEIGHT = 420, 270  # user units; on a phone about three quarters of a pixel each
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 12, 50
_CHARACTERS = 44  # that fit below the x axis
_LOW, _HIGH = 1e-300, 1e300
_DIGITS = (4, 5, 6, 7, 8)
_EQUAL = 1e-6


@dataclass(frozen=True)
class Axis:
    """One axis: its name, the range of values, whether it is logarithmic, and its ticks with their text."""

    name: str
    low: float
    high: float
    log: bool
    ticks: Sequence[tuple[float, str]]

    def place(self, value: float) -> float:
        """Where a value lies, from 0 to 1; values outside the range lie at its ends."""
        low, high = self.low, self.high
        inside = min(max(value, low), high)
        if self.log:
            low, high, inside = math.log(low), math.log(high), math.log(inside)
        return (inside - low) / (high - low)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """About `about` round numbers between low and high."""
    span = (high - low) or 1.0
    raw = span / about
    base = 10 ** math.floor(math.log10(raw))
    step = next(base * k for k in (1, 2, 2.5, 5, 10) if base * k >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_text(value: float, digits: int = 4) -> str:
    """A tick's number, as short as it can be said in so many digits."""
    if value and not 1e-4 <= abs(value) < 1e5:
        return f"{value:.0e}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
    return f"{value:,.{digits}g}" if abs(value) < 1000 else f"{value:,.0f}"


def _told_apart(values: Sequence[float]) -> list[tuple[float, str]]:
    """Ticks with as many digits as tell them apart."""
    texts: list[str] = []
    for digits in _DIGITS:
        texts = [tick_text(value, digits) for value in values]
        if len(set(texts)) == len(texts):
            break
    return list(zip(values, texts, strict=True))


def linear(name: str, low: float, high: float, about: int = 5) -> Axis:
    """A linear axis. Ends that are equal but for the rounding of float32 are apart by as much as they are."""
    if not high - low > _EQUAL * max(abs(low), abs(high)):
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    return Axis(name, low, high, False, _told_apart(ticks(low, high, about)))


def logarithmic(name: str, low: float, high: float, at: Sequence[float] = ()) -> Axis:
    """A logarithmic axis of positive values, with ticks at powers of ten, or at the values `at`, those that fit."""
    low, high = max(low, _LOW), min(max(high, _LOW), _HIGH)
    if not high > low * 1.0001:
        low, high = low / 2, high * 2
    if at:
        return Axis(name, low / 1.15, high * 1.15, True, _that_fit([(v, f"{v:g}") for v in at]))
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    step = max(1, math.ceil((last - first + 1) / 6))
    found = [10.0**k for k in range(first, last + 1, step)]
    if len(found) < 3 and high / low < 1e3:
        found = [m * 10.0**k for k in range(first - 1, last + 1) for m in (1, 2, 5)]
        found = [v for v in found if low <= v <= high]
    return Axis(name, low, high, True, [(v, tick_text(v)) for v in found])


def named(name: str, labels: Sequence[str]) -> Axis:
    """An axis whose places 0, 1, ... have names."""
    return Axis(name, -0.4, len(labels) - 0.6, False, _that_fit([(float(k), text) for k, text in enumerate(labels)]))


def _that_fit(wanted: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """All ticks, or every second, third, ... so that their text does not run together."""
    longest = max((len(text) for _, text in wanted), default=0) + 2
    return list(wanted[:: max(1, math.ceil(len(wanted) * longest / _CHARACTERS))])


class Frame:
    """Two axes in a picture: places of values, and the drawing of grid, ticks and names."""

    def __init__(self, x: Axis, y: Axis) -> None:
        self.x = x
        self.y = y
        self.floor = HEIGHT - _BOTTOM
        self.top = _TOP

    def sx(self, value: float) -> float:
        """Horizontal place of a value."""
        return _LEFT + self.x.place(value) * (WIDTH - _LEFT - _RIGHT)

    def sy(self, value: float) -> float:
        """Vertical place of a value."""
        return self.floor - self.y.place(value) * (self.floor - _TOP)

    def draw(self, label: str, inside: Sequence[str]) -> str:
        """The <svg> with the elements `inside` over the grid. label: for readers who do not see it."""
        parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">']
        for value, text in self.y.ticks:
            y = self.sy(value)
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(text)}</text>')
        for value, text in self.x.ticks:
            x = self.sx(value)
            parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{self.floor}" y2="{self.floor + 4}"/>')
            parts.append(
                f'<text class="tick" x="{x:.1f}" y="{self.floor + 19}" text-anchor="middle">{escape(text)}</text>'
            )
        parts.append(f'<line class="axis" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{self.floor}" y2="{self.floor}"/>')
        middle = (_LEFT + WIDTH - _RIGHT) / 2
        name = escape(self.x.name)
        parts.append(f'<text class="name" x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{name}</text>')
        turned = f'transform="translate(13 {(_TOP + self.floor) / 2}) rotate(-90)" text-anchor="middle"'
        parts.append(f'<text class="name" {turned}>{escape(self.y.name)}</text>')
        return "".join([*parts, *inside, "</svg>"])
