"""Runs nets over the batches of a test, in one process or on several ranks."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from dragon.errors import NumericError
from dragon.graph.coco_scores import CocoScores
from dragon.graph.means import OutputMeans
from dragon.graph.named import BlobValues
from dragon.graph.net import Net
from dragon.parallel.ranks import Ranks

__all__ = ["collect"]

_Array = NDArray[Any]
# the outputs of each net for one batch, and what COCO's scores compare
_Batch = tuple[list[dict[str, _Array]], list[tuple[_Array, _Array]]]


def collect(
    nets: Sequence[Net],
    iterations: int,
    ap_version: str = "Integral",
    coco: Sequence[CocoScores] = (),
    ranks: Ranks | None = None,
) -> list[OutputMeans]:
    """The outputs of each net over `iterations` batches. Raises NumericError if an output is not finite.

    Of several ranks, whose nets have to read their share of the data, rank r runs the batches r, r + ranks, ...; all
    of them add up the outputs in the order of the batches, as one process does, which gives the same bits.
    """
    found = [OutputMeans(net, ap_version) for net in nets]
    size, rank = (1, 0) if ranks is None else (ranks.size, ranks.rank)
    for first in _counted(range(0, iterations, size), rank == 0):
        mine = _run(nets, coco) if first + rank < iterations else None
        for batch in [mine] if ranks is None else ranks.agree_all(mine):
            if isinstance(batch, str):
                raise NumericError(batch)
            if batch is None:  # of a rank that has one batch less
                continue
            outputs, compared = batch
            for one, values in zip(found, outputs, strict=True):
                one.add(BlobValues(values))
            for scores, arrays in zip(coco, compared, strict=True):
                scores.add_batch(*arrays)
    return found


def _run(nets: Sequence[Net], coco: Sequence[CocoScores]) -> _Batch | str:
    """The outputs of the next batch; or where one is not finite, which all ranks are to report."""
    outputs = []
    for net in nets:
        net.run_forward()
        values = net.output_values()
        for name, value in values.items():
            if not np.isfinite(value).all():
                culprit = net.first_nonfinite() or "no blob that is still at hand"
                return f'output "{name}" is not finite; first in {culprit}'
        outputs.append(dict(values))
    return outputs, [scores.compared() for scores in coco]


def _counted(rounds: range, shown: bool) -> Iterator[int]:
    """Iterate, with a progress bar on a terminal."""
    console = Console(stderr=True)
    if not (shown and sys.stderr.isatty() and sys.stdout.isatty()):
        return iter(rounds)
    return iter(track(rounds, "testing", console=console, transient=True))
