"""View: the results of an experiment as the parts of the report read them: names, colours, units, groups of cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dragon.compare.contrasts import primary_of
from dragon.compare.report.lines import Point
from dragon.compare.wording import figure, is_percent, is_share, level_text, without_folders

__all__ = ["GLOBAL", "View", "split_series"]

Record = dict[str, Any]

GLOBAL = "global"  # the net's own running statistics
STATISTICS = {
    GLOBAL: "running statistics", "batch": "statistics of the test batch", "exact": "exact statistics",
}  # fmt: skip
_COSTS = ("ms_per_iteration", "train_s")
_LAST = 100  # iterations that the training loss of a run is the mean of
_DRAWN = 160  # points of a drawn curve


def split_series(name: str) -> tuple[str, str]:
    """`test/accuracy@batch` as (`test/accuracy`, `batch`)."""
    base, _, statistics = name.partition("@")
    return base, statistics or GLOBAL


class View:
    """The content of results.json, with defaults for what an older or smaller experiment lacks."""

    def __init__(self, results: Record) -> None:
        self.results = results
        self.about: Record = without_folders(results["about"])
        self.cells: list[Record] = [
            {**cell, **{key: without_folders(cell[key]) for key in ("what", "messages") if key in cell}}
            for cell in results["cells"]
        ]
        self.contrasts: list[Record] = results.get("contrasts") or []
        self.primary = primary_of(self.contrasts)
        self.definitions: Mapping[str, Record] = results.get("metrics") or {}
        self.variants = list(dict.fromkeys(str(cell["variant"]) for cell in self.cells))
        names = dict.fromkeys(name for cell in self.cells for name in cell.get("levels") or {})
        self.factors = [name for name in names if len({level_text(self.level(c, name)) for c in self.cells}) > 1]
        self.pairs: list[Record] = results.get("pairs") or []
        self._colours = {name: k for k, name in enumerate(self.variants)}

    def about_or_top(self, key: str, default: Any = "") -> Any:
        """An entry that stands in "about" or at the top."""
        return self.about.get(key, self.results.get(key, default))

    # -- cells ----------------------------------------------------------------------------------------------
    @staticmethod
    def level(cell: Record, factor: str) -> Any:
        """The level of a factor in a cell; None if it has none."""
        return (cell.get("levels") or {}).get(factor)

    def colour(self, variant: str) -> int:
        """The number of a variant's colour and mark."""
        return self._colours.get(variant, 0)

    def levels(self, cell: Record, without: Sequence[str] = ()) -> str:
        """The levels of a cell that differ between cells, such as `base_lr 0.01, batch_size 8`."""
        named = [(name, self.level(cell, name)) for name in self.factors if name not in without]
        return ", ".join(f"{name} {level_text(value)}" for name, value in named if value is not None)

    def label(self, cell: Record, without: Sequence[str] = ()) -> str:
        """A cell's variant and levels."""
        levels = self.levels(cell, without)
        return f"{cell['variant']}, {levels}" if levels else str(cell["variant"])

    def panels(self, cells: Sequence[Record], without: Sequence[str] = ()) -> dict[str, list[Record]]:
        """Cells by their levels: the small multiples of a chart that has a line for each variant."""
        found: dict[str, list[Record]] = {}
        for cell in cells:
            found.setdefault(self.levels(cell, without), []).append(cell)
        return found

    # -- metrics --------------------------------------------------------------------------------------------
    def metric_names(self) -> list[str]:
        """Metrics of the main table: those in question first, without costs and losses beside an accuracy."""
        known = dict.fromkeys(name for cell in self.cells for name in cell["metrics"] if name not in _COSTS)
        asked = [c["metric"] for c in self.contrasts if c["metric"] in known]
        accurate = any(is_percent(name) for name in known)
        others = [name for name in known if not (accurate and split_series(name)[0] == "loss")]
        return list(dict.fromkeys([*asked, *sorted(others, key=lambda name: not is_percent(name))]))

    def share(self, metric: str) -> bool:
        """Whether a metric is shown in percent."""
        return is_share(metric, self.definitions)

    def title(self, metric: str) -> str:
        """The title of a metric's column, in one or two lines."""
        if metric == "train_loss":
            longest = max(int(cell.get("iterations") or 0) for cell in self.cells)
            return "Training loss,\n" + (f"last {_LAST}" if longest > _LAST else "all iterations")
        name, statistics = split_series(metric)
        both = any(split_series(other) != (name, GLOBAL) and split_series(other)[0] == name for other in self.known())
        words = name.replace("_", " ")
        series = self.definitions.get(metric, {}).get("series", f"test/{metric}")
        if series == f"test/{metric}" and not name.startswith("train"):
            words = f"Test {words}"
        return words + (f"\n{STATISTICS.get(statistics, statistics)}" if both or statistics != GLOBAL else "")

    def known(self) -> list[str]:
        """Names of all metrics."""
        return list(dict.fromkeys(name for cell in self.cells for name in cell["metrics"]))

    def text(self, metric: str, value: float | None) -> str:
        """A metric's value for readers."""
        if value is None:
            return "–"
        return f"{100 * value:.2f} %" if self.share(metric) else figure(value)

    def chance(self, series: str) -> float | None:
        """What guessing scores in a series of tests or in the training loss, in the unit of charts; None if unknown."""
        base = split_series(series)[0]
        output = "loss" if base == "train/loss" else base.removeprefix("test/")
        scores = {cell["chance"][output] for cell in self.cells if output in (cell.get("chance") or {})}
        if len(scores) != 1:
            return None
        return float(scores.pop()) * (100.0 if is_percent(output) else 1.0)

    def series_of(self, metric: str) -> str:
        """The series that a metric is taken from."""
        return str(self.definitions.get(metric, {}).get("series") or f"test/{metric}")

    @staticmethod
    def failed(cell: Record) -> list[int]:
        """Positions, among the seeds of a cell, of the runs that diverged or were stopped at chance."""
        seeds = list(cell["seeds"])
        if "failed" in cell:
            return [seeds.index(seed) for seed in cell["failed"] if seed in seeds]
        count = (cell.get("diverged") or 0) + (cell.get("stopped") or 0)  # of older results
        return list(range(len(seeds))) if count == len(seeds) else []

    def half_text(self, metric: str, half: float) -> str:
        """Half the width of an interval of a metric."""
        return f"{100 * half:.2f}" if self.share(metric) else figure(half)

    # -- series ---------------------------------------------------------------------------------------------
    def series_names(self) -> list[str]:
        """Names of all curves, in the order in which cells have them."""
        return list(dict.fromkeys(name for cell in self.cells for name in cell.get("curves") or {}))

    def points(self, cell: Record, series: str) -> list[Point]:
        """The points of a cell's curve, thinned out for drawing; those without a value are left out."""
        factor = 100.0 if is_percent(series) else 1.0
        curve = [p for p in (cell.get("curves") or {}).get(series, []) if p.get("mean") is not None]
        step = -(-len(curve) // _DRAWN) if curve else 1
        kept = curve[::step] + (curve[-1:] if (len(curve) - 1) % step else [])
        return [
            Point(p["iter"], *(factor * (p["mean"] if p.get(k) is None else p[k]) for k in ("mean", "low", "high")))
            for p in kept
        ]

    def asked_series(self) -> set[str]:
        """The series of the metrics that the file defines or that a contrast is about."""
        asked = {str(c["metric"]) for c in self.contrasts}
        found = set()
        for name, definition in self.definitions.items():
            series = str(definition.get("series") or "")
            builtin = series in (f"test/{name}", f"train/{name.removeprefix('train_')}")
            if series and (name in asked or not builtin):
                found.add(series)
        return found

    @staticmethod
    def axis_name(series: str) -> str:
        """The name of the value axis of a series."""
        base = split_series(series)[0]
        words = " ".join(base.removeprefix("probe/").split("/")).replace("_", " ")
        return words + (", %" if is_percent(series) else "")
