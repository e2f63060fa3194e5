"""Every figure of a report as CSV: the texts of the files by their path beside the report."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dragon.compare.report.view import View, split_series

__all__ = ["csv_files", "curve_file"]

Record = Mapping[str, Any]


def csv_files(view: View) -> dict[str, str]:
    """cells.csv, runs.csv, contrasts.csv and what else there is, and curves/NAME.csv for each series or probe."""
    found = {"cells.csv": _cells(view), "runs.csv": _runs(view)}
    for name, rows in (
        ("factor_metrics.csv", view.results.get("factor_metrics")),
        ("contrasts.csv", view.contrasts),
        ("tuning.csv", _grid(view)),
        ("pairs.csv", _pairs(view)),
    ):
        if rows:
            columns = dict.fromkeys(key for row in rows for key in row)
            found[name] = _text(columns, ([_plain(row.get(key)) for key in columns] for row in rows))
    return found | _curves(view)


def curve_file(series: str) -> str:
    """The path of the file that holds a series: those of a probe share one, so do an output's statistics."""
    base = split_series(series)[0]
    if base.startswith("probe/"):
        base = "/".join(base.split("/")[:2])
    return f"curves/{re.sub(r'[^A-Za-z0-9.+-]+', '_', base)}.csv"


def _text(head: Iterable[str], rows: Iterable[Sequence[Any]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return stream.getvalue()


def _plain(value: Any) -> Any:
    """A value for one cell: lists and dictionaries as words with semicolons between them."""
    if isinstance(value, Mapping):
        return "; ".join(f"{k}={v}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return "; ".join("" if v is None else str(v) for v in value)
    return value


def _heads(levels: Iterable[str], others: Iterable[str]) -> list[str]:
    """The columns of factors: a factor may have the name of another column, such as a metric."""
    taken = set(others)
    return [f"{name} (factor)" if name in taken else name for name in levels]


def _levels(view: View) -> list[str]:
    return list(dict.fromkeys(name for cell in view.cells for name in cell.get("levels") or {}))


def _cells(view: View) -> str:
    levels = _levels(view)
    others = ["metric", "mean", "low", "high", "n", "interval"]
    head = ["variant", *_heads(levels, others), *others]
    rows = (
        [cell["variant"], *(view.level(cell, name) for name in levels), metric]
        + [entry.get(key) for key in ("mean", "low", "high", "n", "kind")]
        for cell in view.cells
        for metric, entry in cell["metrics"].items()
        if entry
    )
    return _text(head, rows)


def _runs(view: View) -> str:
    """Each metric of each run, a row for each cell and seed."""
    levels, metrics = _levels(view), view.known()
    rows = []
    for cell in view.cells:
        for k, seed in enumerate(cell["seeds"]):
            values = [((cell["metrics"].get(name) or {}).get("values") or [])[k : k + 1] for name in metrics]
            rows.append(
                [cell["variant"], *(view.level(cell, n) for n in levels), seed, *(v[0] if v else None for v in values)]
            )
    return _text(["variant", *_heads(levels, ["seed", *metrics]), "seed", *metrics], rows)


def _grid(view: View) -> list[Record]:
    return [
        {
            "variant": entry["variant"],
            **dict(zip(_heads(levels, [*row, "chosen"]), levels.values(), strict=True)),
            **row,
            "chosen": _is_chosen(row, entry),
        }
        for entry in view.results.get("tuning") or []
        for levels in [entry.get("levels") or {}]
        for row in entry.get("grid") or []
    ]


def _is_chosen(row: Record, entry: Record) -> bool:
    return all(row.get(key) == value for key, value in (entry.get("chosen") or {}).items())


def _pairs(view: View) -> list[Record]:
    """Differences and times of each pair in each setting."""
    rows: list[Record] = []
    for pair in view.pairs:
        for s in pair.get("settings") or []:
            row: dict[str, Any] = {"first": pair["first"], "second": pair["second"], "setting": s["setting"]}
            for part, entry in s["differences"].items():
                if isinstance(entry, Mapping):
                    row |= {f"{part} difference": entry["difference"], f"{part} largest": entry["of"]}
            for part, times in (s.get("times") or {}).items():
                if isinstance(times, Mapping):
                    row |= {f"{part} {key}": value for key, value in times.items()}
            rows.append(row)
    return rows


def _curves(view: View) -> dict[str, str]:
    levels = _levels(view)
    rows: dict[str, list[list[Any]]] = {}
    for name in view.series_names():
        for cell in view.cells:
            where = [name, cell["variant"], *(view.level(cell, level) for level in levels)]
            for p in (cell.get("curves") or {}).get(name, []):
                rows.setdefault(curve_file(name), []).append(
                    [*where, *(p.get(k) for k in ("iter", "mean", "low", "high", "n"))]
                )
    others = ["iteration", "mean", "low", "high", "n"]
    head = ["series", "variant", *_heads(levels, ["series", *others]), *others]
    return {path: _text(head, found) for path, found in rows.items()}
