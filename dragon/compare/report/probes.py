"""Sections of probes: their values from layer to layer, at the first and the last iteration, and over iterations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dragon.compare.report.axes import Axis, linear, named
from dragon.compare.report.csv_files import curve_file
from dragon.compare.report.curves import variant_legend
from dragon.compare.report.html import charts, csv_link, details, figure_of, section
from dragon.compare.report.lines import Point, Series, plot, value_axis
from dragon.compare.report.view import View
from dragon.compare.wording import figure
from dragon.counting import how_many

__all__ = ["probe_sections"]

Record = dict[str, Any]

_PROBE = "probe/"
_KINDS = ("bias", "gamma", "beta")  # of blobs, by the end of their key; other blobs are weights
_FEW = 6  # keys of a probe of which each gets a chart over iterations
_PROFILE = 3  # layers that make a chart from layer to layer


def probe_sections(view: View, csv: dict[str, str]) -> str:
    """A section for each probe. csv: the files of series, by "probe/NAME"."""
    probes: dict[str, list[str]] = {}
    for name in view.series_names():
        if name.startswith(_PROBE):
            _, probe, *rest = name.split("/")
            probes.setdefault(probe, []).append("/".join(rest))
    return "".join(_probe(view, probe, keys, csv) for probe, keys in probes.items())


def _probe(view: View, probe: str, keys: Sequence[str], csv: dict[str, str]) -> str:
    profiles = [chart for kind, some in _kinds(keys).items() for chart in _profiles(view, probe, kind, some)]
    over = _over_iterations(view, probe, keys)
    few = len(keys) <= _FEW
    rest = "" if few else details(f"Over iterations: {how_many(len(over), 'chart')}", charts(over))
    link = csv_link(curve_file(_PROBE + probe), csv.get(_PROBE + probe))
    return section(_title(probe), variant_legend(view), charts([*profiles, *(over if few else [])]), rest, link=link)


def _title(probe: str) -> str:
    words = probe.replace("_", " ")
    return words[:1].upper() + words[1:]


def _kinds(keys: Sequence[str]) -> dict[str, dict[str, str]]:
    """Keys of one kind of blob belong in one chart: for each kind the keys by layer, where there are enough layers."""
    found: dict[str, dict[str, str]] = {}
    for one in keys:
        layer, _, kind = one.rpartition("/")
        if layer and kind in _KINDS:
            found.setdefault(kind, {})[layer] = one
        else:
            found.setdefault("", {})[one] = one
    return {kind: layers for kind, layers in found.items() if len(layers) >= _PROFILE}


def _profiles(view: View, probe: str, kind: str, layers: dict[str, str]) -> list[str]:
    """Charts from layer to layer, at the first and at the last measured iteration, all on one scale."""
    name = _title(probe) + (f" of {kind}" if kind else "")
    found: list[tuple[str, list[Series]]] = []
    for levels, cells in view.panels(view.cells).items():
        for place, when in ((0, "first"), (-1, "last")):
            lines, at = [], 0
            for cell in cells:
                points = []
                for k, one in enumerate(layers.values()):
                    curve = view.points(cell, f"{_PROBE}{probe}/{one}")
                    if curve:
                        p, at = curve[place], int(curve[place].x)
                        points.append(Point(k, p.y, p.low, p.high))
                lines.append(Series(view.label(cell), view.colour(str(cell["variant"])), points, bars=True))
            title = ", ".join(part for part in (f"{name} at iteration {at:,} ({when})", levels) if part)
            found.append((title, lines))
    return _figures(found, named("layer", list(layers)), probe)


def _over_iterations(view: View, probe: str, keys: Sequence[str]) -> list[str]:
    figures = []
    for one in keys:
        found, name = [], f"{_PROBE}{probe}/{one}"
        for levels, cells in view.panels(view.cells).items():
            title = ", ".join(part for part in (f"{_title(probe)} {one}".strip(), levels) if part)
            lines = [Series(view.label(c), view.colour(str(c["variant"])), view.points(c, name)) for c in cells]
            found.append((title, lines))
        last = max((p.x for _, lines in found for line in lines for p in line.points), default=0)
        figures += _figures(found, linear("iteration", 0, last or 1.0, 4), probe)
    return figures


def _figures(found: Sequence[tuple[str, list[Series]]], x: Axis, probe: str) -> list[str]:
    """Figures of (title, lines) on one axis of values, so that they can be compared; without those that have none."""
    values = [p for _, lines in found for line in lines for p in line.points]
    if not values:
        return []
    y = value_axis(probe.replace("_", " "), values)
    seen = [(title, lines) for title, lines in found if any(line.points for line in lines)]
    return [figure_of(title, plot(title, lines, x, y, figure)) for title, lines in seen]
