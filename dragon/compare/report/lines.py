"""Line charts: series with bands over iterations, and metrics with error bars over the levels of a factor.

Colours come from the page's style (classes c0, c1, ...), so they suit light and dark; each also has its own mark.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from dragon.compare.report.axes import Axis, Frame, linear, logarithmic

__all__ = ["COLOURS", "MARKS", "Point", "Series", "chart", "mark", "plot", "value_axis"]

COLOURS = 8  # classes c0 .. c7 of charts.css
MARKS = 4  # circle, square, triangle, diamond; classes m0 .. m3
_MARKS_APART = 14  # points of a line beyond which only some are marked
_DECADES_FOR_LOG = 100.0


@dataclass(frozen=True)
class Point:
    """A point of a line: x, y, and the interval low..high around y."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class Series:
    """A line. colour: class c0, c1, ... of the page's style, modulo COLOURS. marks: draw a mark at its points."""

    name: str
    colour: int
    points: Sequence[Point]
    dashed: bool = False
    marks: bool = True
    wide: bool = False
    bars: bool = False  # intervals as error bars instead of a band
    crosses: Sequence[Point] = ()  # runs that diverged or were stopped at chance


def chart(
    label: str,
    series: Sequence[Series],
    x_name: str,
    y_name: str,
    number: Callable[[float], str],
    y: Axis | None = None,
) -> str:
    """A chart over iterations, whose x axis begins at 0. y: an axis that other charts share."""
    points = [p for s in series for p in s.points]
    if not points:
        return "<p>Nothing to draw.</p>"
    x = linear(x_name, 0.0, max(p.x for p in points) or 1.0, 4)
    return plot(label, series, x, y or value_axis(y_name, points), number)


def plot(
    label: str, series: Sequence[Series], x: Axis, y: Axis, number: Callable[[float], str], chance: float | None = None
) -> str:
    """An <svg> with axes and for each series a line, its intervals as a band or bars, and crosses for failed runs.

    chance: what guessing scores, a dotted line where the axis reaches it.
    """
    frame = Frame(x, y)
    seen = [s for s in series if s.points]
    if not seen:
        return "<p>Nothing to draw.</p>"
    inside = [] if chance is None or not y.low <= chance <= y.high else [_chance(frame, chance)]
    inside += [_spread(s, frame) for s in seen]
    inside += [_line(s, frame, number) for s in seen]
    return frame.draw(label, inside + [_crosses(s, frame) for s in seen])


def value_axis(name: str, points: Sequence[Point], zero: bool = False, log: bool | None = None) -> Axis:
    """The axis of values, with a margin; wide intervals may be clipped. log None: as the values' range suggests."""
    low, high = min(p.y for p in points), max(p.y for p in points)
    if log is None:
        log = low > 0 and high / low > _DECADES_FOR_LOG
    if log and low > 0:
        return logarithmic(name, low / 1.15, high * 1.15)
    span = (high - low) or max(abs(high), 1e-9)
    low = max(min(p.low for p in points), low - 0.35 * span) - 0.05 * span
    high = min(max(p.high for p in points), high + 0.35 * span) + 0.05 * span
    return linear(name, 0.0 if zero and low > 0 else low, high)


def mark(kind: int, x: float, y: float, size: float = 3.4) -> str:
    """The SVG element, without its end, of mark number `kind`: circle, square, triangle, diamond."""
    style = f'class="mark c{kind % COLOURS}"'
    if kind % MARKS == 0:
        return f'<circle {style} cx="{x:.1f}" cy="{y:.1f}" r="{size}"'
    corners = {
        1: ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
        2: ((0, -1.2), (1.15, 0.9), (-1.15, 0.9)),
        3: ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
    }[kind % MARKS]
    places = " ".join(f"{x + size * dx:.1f},{y + size * dy:.1f}" for dx, dy in corners)
    return f'<polygon {style} points="{places}"'


def _spread(s: Series, frame: Frame) -> str:
    if all(p.low == p.high for p in s.points):
        return ""
    colour = s.colour % COLOURS
    if s.bars:
        return "".join(
            f'<line class="bar c{colour}" x1="{frame.sx(p.x):.1f}" x2="{frame.sx(p.x):.1f}" y1="{frame.sy(p.low):.1f}" '
            f'y2="{frame.sy(p.high):.1f}"/>'
            for p in s.points
        )
    upper = [f"{frame.sx(p.x):.1f},{frame.sy(p.high):.1f}" for p in s.points]
    lower = [f"{frame.sx(p.x):.1f},{frame.sy(p.low):.1f}" for p in reversed(s.points)]
    return f'<polygon class="band c{colour}" points="{" ".join(upper + lower)}"/>'


def _line(s: Series, frame: Frame, number: Callable[[float], str]) -> str:
    path = " ".join(f"{frame.sx(p.x):.1f},{frame.sy(p.y):.1f}" for p in s.points)
    kind = "line" + " dashed" * s.dashed + " wide" * s.wide
    drawn = [f'<polyline class="{kind} c{s.colour % COLOURS}" points="{path}"/>']
    if s.marks or len(s.points) == 1:
        step = max(1, len(s.points) // _MARKS_APART)
        drawn += [
            f"{mark(s.colour, frame.sx(p.x), frame.sy(p.y))}>"
            f"<title>{escape(s.name)}, {p.x:,.6g}: {escape(number(p.y))}</title>{_end(s.colour)}"
            for p in s.points[::-step][::-1]
        ]
    return "".join(drawn)


def _chance(frame: Frame, value: float) -> str:
    y, left, right = frame.sy(value), frame.sx(frame.x.low), frame.sx(frame.x.high)
    return f'<line class="chance" x1="{left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _crosses(s: Series, frame: Frame) -> str:
    drawn = []
    for x, y in dict.fromkeys((frame.sx(p.x), frame.sy(p.y)) for p in s.crosses):
        ways = f"M{x - 5:.1f} {y - 5:.1f}l10 10m0 -10l-10 10"
        drawn.append(
            f'<path class="cross c{s.colour % COLOURS}" d="{ways}"><title>{escape(s.name)}: failed</title></path>'
        )
    return "".join(drawn)


def _end(kind: int) -> str:
    return "</polygon>" if kind % MARKS else "</circle>"
