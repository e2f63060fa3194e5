"""Where a run that diverged, or gave NaN in tests, counts with a figure put in for it, and what that can decide."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from dragon.compare.config import Metric
from dragon.compare.metrics import lower_is_better, measure, never_reached, parts_of

__all__ = ["is_imputed", "undecided_ends", "worse_sign"]

Record = dict[str, Any]

_SCORES = ("last", "first", "tail", "mean", "max", "min", "median", "at", "first_at_least")
_END = sys.float_info.max  # finite, as an open bound of infinity does not contain infinity


def is_imputed(metric: Metric, record: Record, metrics: Mapping[str, Metric]) -> bool:
    """Whether a metric of a run depends on chance, put in for tests that it did not live to see or that gave NaN.

    So does the whole length of a run that diverged, put in for one that did not get to a score.
    """
    if not record["diverged"] and not any(None in values for _, values in record["series"].values()):
        return False
    if parts := parts_of(metric):
        return any(is_imputed(metrics[name], record, metrics) for name in parts)
    without = {**record, "chance": {}}
    changed = measure(metric, record, metrics) != measure(metric, without, metrics)
    return changed or bool(record["diverged"] and never_reached(metric, record))


def worse_sign(name: str, metrics: Mapping[str, Metric]) -> int:
    """Where worse runs have the metric: 1 above, -1 below; 0 where that cannot be said, as of a difference or slope."""
    metric = metrics[name]
    if metric.take not in _SCORES or metric.minus or metric.quotient or metric.less or metric.per:
        return 0
    if metric.of:
        return worse_sign(metric.of, metrics)
    return 1 if lower_is_better(name, metrics) else -1


def undecided_ends(low: float, high: float, sign: int) -> tuple[float, float]:
    """The interval low..high of an effect with the end open to which a worse run moves it; with `sign` 0 both ends.

    Chance is what a run gets that learned nothing. One that diverged is no better, but how much worse is not known.
    """
    return (low if sign > 0 else -_END), (high if sign < 0 else _END)
