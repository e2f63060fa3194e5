"""How nets, blobs and solvers show themselves in notebooks: HTML without scripts that loads nothing.

Text takes the colour of the notebook, and lines have colours for light and for dark ones.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator
from html import escape
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from dragon.compare.report.html import legend, swatch, table
from dragon.compare.report.lines import Point, Series, chart
from dragon.graph.facts import accuracy_names
from dragon.graph.summary import HEAD, cells, net_table
from dragon.memory.storage import Array

if TYPE_CHECKING:
    from dragon.graph.net import Net
    from dragon.memory.blob import Blob
    from dragon.solver.solver import Solver

__all__ = ["blob_html", "net_html", "solver_html"]

_MAPS = 32  # maps or images of a blob that are drawn
_LARGEST = 256  # height and width beyond which a blob is not drawn


def _box(*parts: str) -> str:
    style = resources.files("dragon").joinpath("notebook.css").read_text("utf-8")
    return f'<div class="dragon"><style>\n{style}</style>{"".join(parts)}</div>'


def net_html(net: Net) -> str:
    """The table of `Net.summary` with its sums."""
    found = net_table(net)
    rows = [[escape(cell) for cell in cells(row)] for row in found.rows]
    totals = "".join(f"<p>{escape(name)}: {escape(text)}</p>" for name, text in found.totals)
    notes = "".join(f'<p class="soft">{escape(line)}</p>' for line in found.notes)
    return _box(f"<p>{escape(found.title)}</p>", table(HEAD, rows, "net"), totals, notes)


def blob_html(blob: Blob) -> str:
    """Shape, type, and the range of data and diff; of images and feature maps also a picture of the first ones."""
    rows = [[name, *_statistics(values)] for name, values in (("data", blob.peek()), ("diff", blob.peek_diff()))]
    head = ["", "least", "largest", "mean", "standard deviation", "zeros", "not finite"]
    return _box(f"<p>{escape(repr(blob))}</p>", table(head, rows), _picture(blob.peek()))


def _statistics(values: Array) -> list[str]:
    finite = values[np.isfinite(values)].astype(np.float64)
    lost = values.size - finite.size
    if not finite.size:
        return ["-"] * 4 + ["0", f"{lost:,}"]
    figures = (finite.min(), finite.max(), finite.mean(), finite.std())
    return [f"{value:.4g}" for value in figures] + [f"{np.mean(finite == 0):.1%}", f"{lost:,}"]


def _picture(values: Array) -> str:
    """Images of 3 channels, or the maps of the first item, each from black at its least to white at its largest value.

    Empty for blobs of another form.
    """
    if values.ndim != 4 or not values.size or not 2 <= min(values.shape[2:]) <= max(values.shape[2:]) <= _LARGEST:
        return ""
    if values.shape[1] == 3:
        tiles, what = values[:_MAPS, ::-1].transpose(0, 2, 3, 1), "images (channels in the order blue, green, red)"
    elif values.shape[1] == 1:
        tiles, what = values[:_MAPS, 0], "images"
    else:
        tiles, what = values[0, :_MAPS], "item 0, channels"
    tiles = np.nan_to_num(np.array(tiles, np.float64), posinf=0.0, neginf=0.0)
    axes = tuple(range(1, tiles.ndim))
    low, high = tiles.min(axes, keepdims=True), tiles.max(axes, keepdims=True)
    shades: Array = (255 * (tiles - low) / np.where(high > low, high - low, 1)).astype(np.uint8)
    across = math.ceil(math.sqrt(len(shades)))
    height, width = shades.shape[1:3]
    down = math.ceil(len(shades) / across)
    sheet = np.full((down * (height + 1), across * (width + 1), *shades.shape[3:]), 128, np.uint8)
    for k, tile in enumerate(shades):
        top, left = k // across * (height + 1), k % across * (width + 1)
        sheet[top : top + height, left : left + width] = tile
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "png")
    code = base64.b64encode(file.getvalue()).decode("ascii")
    shown = f"{what} 0 to {len(shades) - 1}"
    return f'<p class="soft">{shown}</p><img alt="{shown}" src="data:image/png;base64,{code}">'


def solver_html(solver: Solver) -> str:
    """What is trained and how far, and the curves of loss and accuracy since the solver was made."""
    title = f"<p>{escape(repr(solver))}</p>"
    if not solver.history.losses and not solver.history.tests:
        return _box(title, '<p class="soft">Nothing has been trained yet.</p>')
    scores = {name for net in solver.test_nets for name in accuracy_names(net)}
    losses = [one for one in _tests(solver) if one[0] not in scores]
    training = ("training loss", [Point(float(k), loss, loss, loss) for k, loss in solver.history.losses])
    accuracies = [one for one in _tests(solver) if one[0] in scores]
    return _box(title, _figure("loss", [training, *losses]), _figure("accuracy", accuracies))


def _tests(solver: Solver) -> Iterator[tuple[str, list[Point]]]:
    """For each output of each test net its name and its finite values; of all nets but the first with their number."""
    for index in range(len(solver.test_nets)):
        tests = [test for test in solver.history.tests if test.net == index]
        for name in sorted({name for test in tests for name in test.outputs}):
            values = [(test.iteration, test.outputs[name]) for test in tests if name in test.outputs]
            yield (
                f"{name} (test net {index})" if index else name,
                [Point(float(k), value, value, value) for k, value in values if math.isfinite(value)],
            )


def _figure(title: str, lines: list[tuple[str, list[Point]]]) -> str:
    lines = [line for line in lines if line[1]]
    if not lines:
        return ""
    series = [Series(name, k, points, marks=len(points) < 40) for k, (name, points) in enumerate(lines)]
    drawn = chart(title, series, "iteration", title, lambda value: f"{value:.4g}")
    keys = legend([swatch(k, name) for k, (name, _) in enumerate(lines)])
    return f"<figure><figcaption>{escape(title)}</figcaption>{keys}{drawn}</figure>"
