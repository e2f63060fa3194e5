"""A diagram with places: the text of each box, its size, and the ways of the arrows, in pixels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from dragon.counting import how_many
from dragon.drawing.boxes import Box, Diagram, Part, shape_text
from dragon.drawing.layout import Layout, arrange
from dragon.errors import UsageError

__all__ = ["CHARACTER", "LINE", "MARGIN", "PAD", "Picture", "Place", "lines_of"]

CHARACTER = 7.3  # breadth of a character of the fixed-width face at 12 px
LINE = 16.0
PAD = 9.0
MARGIN = 16.0
_GAP = 30.0  # between ranks
_NARROWEST = 90.0
DIRECTIONS = ("TB", "BT", "LR", "RL")


@dataclass(frozen=True)
class Place:
    """A box's rectangle: left, top, width, height."""

    x: float
    y: float
    width: float
    height: float


def _count(part: Part) -> str:
    facts = part.facts
    if facts is None:
        return ""
    shapes = [shape_text(shape) for shape in facts.shapes]
    if len(shapes) > 1:
        shapes = [f"{top} {shape}" for top, shape in zip(part.tops, shapes, strict=False)]
    return ", ".join(shapes)


def _values(number: int) -> str:
    return how_many(number, "parameter") if number else ""


def _joined(*texts: str) -> str:
    return " · ".join(text for text in texts if text)


def lines_of(box: Box, opened: bool) -> list[str]:
    """The text in a box; names of layers begin with `*`. opened: every layer with its name, shapes and parameters."""
    if opened and len(box.parts) > 1:
        return [line for part in box.parts for line in _part_lines(part)]
    if len(box.parts) == 1:
        return _part_lines(box.parts[0])
    first, last = box.parts[0], box.parts[-1]
    types = " + ".join(part.type for part in box.parts)
    told = [f"*{box.name}", types, _joined(first.settings, first.only), _joined(_count(last), _values(box.learned))]
    return [line for line in told if line]


def _part_lines(part: Part) -> list[str]:
    learned = part.facts.learned if part.facts else 0
    told = [f"*{part.name}", _joined(part.type, part.settings, part.only), _joined(_count(part), _values(learned))]
    return [line for line in told if line]


class Picture:
    """A diagram with places. direction: where the layers run to, TB, BT, LR or RL. opened: boxes shown with all layers.

    Raises UsageError for another direction.
    """

    def __init__(self, diagram: Diagram, direction: str = "TB", opened: Collection[int] = ()) -> None:
        if direction not in DIRECTIONS:
            raise UsageError(f'rankdir must be LR, TB, RL or BT, got "{direction}"')
        self.diagram = diagram
        self.direction = direction
        self.upright = direction in ("TB", "BT")
        self.closed_lines = [lines_of(box, False) for box in diagram.boxes]
        self.open_lines = [lines_of(box, True) for box in diagram.boxes]
        self.opened = set(opened)

    @cached_property
    def widths(self) -> list[float]:
        """Of each box, which has the space for its text when it is opened."""
        pairs = zip(self.closed_lines, self.open_lines, strict=True)
        return [max(_NARROWEST, _width([*closed, *opened])) for closed, opened in pairs]

    def height(self, index: int, opened: bool) -> float:
        """The height of a box."""
        return 2 * PAD + LINE * len((self.open_lines if opened else self.closed_lines)[index])

    @cached_property
    def layout(self) -> Layout:
        """Ranks and places along them; boxes never touch, opened or not."""
        heights = [self.height(i, True) for i in range(len(self.widths))]
        arrows = [(start, end) for start, end, _ in self.diagram.arrows]
        return arrange(self.widths if self.upright else heights, arrows)

    def thickness(self) -> list[float]:
        """Of each rank, the largest extent of its boxes across the rank."""
        found = [0.0] * (max(self.layout.ranks, default=-1) + 1)
        for i, rank in enumerate(self.layout.ranks):
            extent = self.height(i, i in self.opened) if self.upright else self.widths[i]
            found[rank] = max(found[rank], extent)
        return found

    def starts(self) -> list[float]:
        """Where each rank begins, along the direction."""
        at, found = MARGIN, []
        for thick in self.thickness():
            found.append(at)
            at += thick + _GAP
        return found

    @property
    def length(self) -> float:
        """Of the whole, along the direction."""
        thick, starts = self.thickness(), self.starts()
        return starts[-1] + thick[-1] + MARGIN if starts else 2 * MARGIN

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the whole."""
        breadth = self.layout.breadth + 2 * MARGIN
        return (breadth, self.length) if self.upright else (self.length, breadth)

    def places(self) -> list[Place]:
        """The rectangle of each box."""
        starts, length, found = self.starts(), self.length, []
        for i, (rank, centre) in enumerate(zip(self.layout.ranks, self.layout.centres, strict=True)):
            width, height = self.widths[i], self.height(i, i in self.opened)
            along, extent = starts[rank], height if self.upright else width
            if self.direction in ("BT", "RL"):
                along = length - along - extent
            across = MARGIN + centre - (width if self.upright else height) / 2
            found.append(Place(across, along, width, height) if self.upright else Place(along, across, width, height))
        return found

    def paths(self) -> list[str]:
        """The `d` of each arrow's path: curves between ranks, straight through them."""
        return [_path(stops, self.upright) for stops in self.stops()]

    def stops(self) -> list[list[tuple[float, float]]]:
        """For each arrow the corners of its way: out of the box, then into and out of each rank."""
        starts, thick, length = self.starts(), self.thickness(), self.length
        return [self._stops(k, starts, thick, length) for k in range(len(self.diagram.arrows))]

    def _stops(self, k: int, starts: list[float], thick: list[float], length: float) -> list[tuple[float, float]]:
        start, route = self.diagram.arrows[k][0], self.layout.routes[k]
        extent = self.height(start, start in self.opened) if self.upright else self.widths[start]
        stops = [(starts[route[0][0]] + extent, route[0][1]), (starts[route[0][0]] + thick[route[0][0]], route[0][1])]
        for rank, where in route[1:-1]:
            stops += [(starts[rank], where), (starts[rank] + thick[rank], where)]
        stops.append((starts[route[-1][0]], route[-1][1]))
        turned = [(length - a if self.direction in ("BT", "RL") else a, MARGIN + c) for a, c in stops]
        return [(c, a) for a, c in turned] if self.upright else turned


def _path(stops: Sequence[tuple[float, float]], upright: bool) -> str:
    """Straight from the box to the end of its rank, then in turn a curve to the next rank and straight through it."""
    first, *rest = stops
    parts = [f"M{first[0]:.1f} {first[1]:.1f}"]
    previous = first
    for k, (x, y) in enumerate(rest):
        if k % 2 == 0:
            parts.append(f"L{x:.1f} {y:.1f}")
        else:
            (a, b), middle = previous, ((previous[0] + x) / 2, (previous[1] + y) / 2)
            bends = (a, middle[1], x, middle[1]) if upright else (middle[0], b, middle[0], y)
            parts.append("C" + " ".join(f"{v:.1f}" for v in (*bends, x, y)))
        previous = (x, y)
    return "".join(parts)


def _width(lines: Sequence[str]) -> float:
    return 2 * PAD + CHARACTER * max((len(line.lstrip("*")) for line in lines), default=0) + 14
