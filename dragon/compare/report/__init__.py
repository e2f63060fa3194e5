"""The report of an experiment: one self-contained page, readable offline, on a phone and printed; CSV of every figure.

`write_report` writes report.html, picture.svg (the first screen) and the CSV files into a folder, `write_index` the
page over all experiments.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dragon.compare.report.csv_files import csv_files, curve_file
from dragon.compare.report.curves import curve_sections
from dragon.compare.report.factors import rate_section
from dragon.compare.report.first import first_screen, picture_series
from dragon.compare.report.how import how_section
from dragon.compare.report.html import csv_link, page
from dragon.compare.report.index import write_index
from dragon.compare.report.pairs import pair_section
from dragon.compare.report.picture import picture
from dragon.compare.report.probes import probe_sections
from dragon.compare.report.tables import cells_section, contrasts_section, definitions_section, tuning_section
from dragon.compare.report.view import View
from dragon.files.atomic import write_atomically
from dragon.files.folders import make_folder

__all__ = ["picture", "render", "write_index", "write_report"]


def write_report(results: dict[str, Any], folder: Path) -> Path:
    """Write report.html, picture.svg and the CSV files of results.json's content; the page's path. Raises OSError."""
    for name, text in csv_files(View(results)).items():
        path = folder / name
        make_folder(path.parent)
        write_atomically(path, text.encode())
    write_atomically(folder / "picture.svg", picture(results).encode())
    target = folder / "report.html"
    write_atomically(target, render(results).encode())
    return target


def render(results: dict[str, Any]) -> str:
    """The page for the content of results.json."""
    view = View(results)
    csv = csv_files(view)
    by_series = {name: csv[curve_file(name)] for name in view.series_names() if curve_file(name) in csv}
    by_series |= {"/".join(name.split("/")[:2]): text for name, text in by_series.items() if name.startswith("probe/")}
    body = [
        first_screen(view),
        contrasts_section(view, csv),
        cells_section(view, csv),
        rate_section(view),
        curve_sections(view, picture_series(view), by_series),
        probe_sections(view, by_series),
        *(pair_section(pair) for pair in view.pairs),
        tuning_section(view, csv),
        definitions_section(view),
    ]
    links = {name: csv_link(name, text) for name, text in csv.items()}
    others = [link for link in links.values() if not any(link in part for part in body)]
    return page(str(view.about.get("claim") or view.about["name"]), [*body, how_section(view, csv, others)])
