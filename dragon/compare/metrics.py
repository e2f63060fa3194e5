"""Metrics: one number for each run, taken from its series; and over a factor, one for each variant and seed.

Every planned test counts. A test that gave NaN or infinity scores chance (an accuracy 1 / classes, a cross-entropy
ln(classes)), and so does a run that diverged in the tests that it did not live to see. A run that was stopped at chance
goes on scoring what it scored last.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from statistics import median, pstdev
from typing import Any

from dragon.compare.config import Metric, Place, Value

__all__ = [
    "LAST",
    "builtin_metrics",
    "curve",
    "iteration_of",
    "lower_is_better",
    "measure",
    "measure_over",
    "never_reached",
    "parts_of",
    "resolve_metric",
]

Record = dict[str, Any]
Curve = tuple[list[int], list[float | None]]

_LARGEST = 1e100
LAST = 100  # iterations whose mean is the training loss of a run
_TRAIN_LOSS = "train/loss"
_TESTED_LOSS = "train/loss@tested"
_TIMES: Mapping[str, Callable[[Record], float | None]] = {
    "ms_per_iteration": lambda r: 1e3 * r["train_s"] / r["done"] if r["done"] else None,
    "train_s": lambda r: float(r["train_s"]),
}


def builtin_metrics(series: Sequence[str]) -> dict[str, Metric]:
    """The metrics that every experiment has, by name: each tested output at the end, the training loss, times."""
    found: dict[str, Metric] = {}
    for name in series:
        on, _, output = name.partition("/")
        if on == "test":
            found[output] = Metric(output, series=name)
        elif on == "train" and name not in (_TRAIN_LOSS, _TESTED_LOSS):
            found[f"train_{output}"] = Metric(f"train_{output}", series=name)
    found["train_loss"] = Metric("train_loss", "tail", series=_TRAIN_LOSS)
    return found | {name: Metric(name, "time") for name in _TIMES}


def resolve_metric(name: str, metrics: Mapping[str, Metric]) -> list[Metric]:
    """The metric and all that it is made of; KeyError with the first name that is unknown or defined by itself."""
    found: list[Metric] = []

    def visit(one: str, above: tuple[str, ...]) -> None:
        if one not in metrics or one in above:
            raise KeyError(one)
        metric = metrics[one]
        found.append(metric)
        for part in parts_of(metric):
            visit(part, (*above, one))

    visit(name, ())
    return found


def parts_of(metric: Metric) -> list[str]:
    """The metrics that one is made of, by name."""
    return [*(metric.minus or metric.quotient or ()), *([metric.of] if metric.of else [])]


def lower_is_better(name: str, metrics: Mapping[str, Metric]) -> bool:
    """Whether small values of a metric are the good ones: of losses, errors, times, and iterations until a score."""
    metric = metrics[name]
    if metric.take in ("time", "first_at_least"):
        return True
    if part := metric.of or (metric.minus or metric.quotient or ("",))[0]:
        return lower_is_better(part, metrics)
    output = (metric.series or "").partition("/")[2].lower()
    return any(word in output for word in ("loss", "error"))


# -- of a run -------------------------------------------------------------------------------------------------
def curve(record: Record, name: str) -> Curve | None:
    """A series of a run with the tests that it missed filled in; None if it has no such series."""
    iterations, values = (list(part) for part in record["series"].get(name, ([], [])))
    on, _, output = name.partition("/")
    if on not in ("test", "train"):
        return (iterations, values) if iterations else None
    diverged, stopped = record["diverged"], record["stopped"]
    guess = record["chance"].get("loss" if name == _TRAIN_LOSS else output.partition("@")[0])
    values = [guess if value is None else value for value in values]  # by bad statistics, say, in a run that goes on
    if diverged:
        if name == _TRAIN_LOSS:
            planned = range(record["done"] + 1, record["iterations"] + 1)
        else:
            last = iterations[-1] if iterations else 0
            step = record["test_interval"]
            planned = range(last - last % step + step, record["iterations"] + 1, step)
        iterations, values = [*iterations, *planned], [*values, *[guess] * len(planned)]
    elif stopped and iterations:
        step = 1 if name == _TRAIN_LOSS else record["test_interval"]
        planned = range(iterations[-1] + step, record["iterations"] + 1, step)
        iterations, values = [*iterations, *planned], [*values, *[values[-1]] * len(planned)]
    return (iterations, values) if iterations else None


def measure(metric: Metric, record: Record, metrics: Mapping[str, Metric]) -> float | None:
    """The metric of a run; None if the run has not what it is made of.

    A value whose cube, which statistics take, would be no finite number is none, and one whose cube would be 0 is 0.
    """
    value = _measured(metric, record, metrics)
    if value is None or not abs(value) <= _LARGEST:
        return None
    return value if abs(value) * _LARGEST >= 1 else 0.0


def _measured(metric: Metric, record: Record, metrics: Mapping[str, Metric]) -> float | None:
    if metric.take == "time":
        return _TIMES[metric.name](record)
    if pair := metric.minus or metric.quotient:
        a, b = (measure(metrics[name], record, metrics) for name in pair)
        if a is None or b is None:
            return None
        return a - b if metric.minus else _quotient(a, b, metric.power)
    taken = [_taken(metric, points, record) for points in _points(metric, record)]
    values = [value for value in taken if value is not None]
    return math.fsum(values) / len(values) if values else None


def never_reached(metric: Metric, record: Record) -> bool:
    """Whether a run counts with its whole length, since it did not get to the value of `first_at_least`."""
    if metric.take != "first_at_least" or metric.value is None:
        return False
    return all(y < metric.value for points in _points(metric, record) for _, y in _within(metric, points, record))


def _within(metric: Metric, points: list[tuple[int, float]], record: Record) -> list[tuple[int, float]]:
    """The points from `from` to `to`."""
    end = record["iterations"]
    first = 0 if metric.start is None else iteration_of(metric.start, end)
    last = end if metric.end is None else iteration_of(metric.end, end)
    return [(x, y) for x, y in points if first <= x <= last]


def _points(metric: Metric, record: Record) -> list[list[tuple[int, float]]]:
    """The points of the metric's series, or of each that its name with a * fits, without those that have no value."""
    series = metric.series or ""
    before, star, behind = series.partition("*")
    names = fnmatch.filter(record["series"], series) if star else [series]
    found = []
    for name in names:
        fits = name[len(before) : len(name) - len(behind)]
        points = _curve(record, name)
        if metric.less is not None:
            other = _curve(record, metric.less.replace("*", fits))
            points = {x: y - other[x] for x, y in points.items() if x in other}
        if metric.per is not None:
            other = _curve(record, metric.per.replace("*", fits))
            points = {x: y / other[x] for x, y in points.items() if other.get(x)}
        found.append(list(points.items()))
    return found


def _curve(record: Record, name: str) -> dict[int, float]:
    return {x: y for x, y in zip(*(curve(record, name) or ([], [])), strict=True) if y is not None}


def iteration_of(place: Place, end: int) -> int:
    """The iteration at a place of a run of `end` iterations."""
    return round(int(place[:-1]) * end / 100) if isinstance(place, str) else place


def _quotient(a: float, b: float, power: float | None) -> float | None:
    """(a / b)^power; None where that is no finite real number."""
    if not b:
        return None
    value = a / b
    if power is None:
        return value if math.isfinite(value) else None
    try:
        return float(value**power) if value > 0 else None
    except OverflowError:
        return None


def _taken(metric: Metric, points: list[tuple[int, float]], record: Record) -> float | None:
    end = record["iterations"]
    if metric.take == "ratio":
        return _ratio(
            points, *(iteration_of(0 if place is None else place, end) for place in (metric.start, metric.end))
        )
    points = _within(metric, points, record)
    if not points:
        return None
    ys = [y for _, y in points]
    match metric.take:
        case "last":
            return ys[-1]
        case "first":
            return ys[0]
        case "tail":
            return math.fsum(ys[-LAST:]) / len(ys[-LAST:])
        case "mean":
            return math.fsum(ys) / len(ys)
        case "max":
            return max(ys)
        case "min":
            return min(ys)
        case "at":
            return _at(points, iteration_of(metric.iter or 0, end))
        case "first_at_least":  # a run that never gets there counts with its whole length
            return float(next((x for x, y in points if metric.value is not None and y >= metric.value), end))
        case "slope":
            return _slope(points)
        case "median":
            return median(ys)
        case "sd":  # over iterations: how far the values move about, which one point does not show
            return pstdev(ys) if len(ys) > 1 else None
    raise ValueError(f"unknown take {metric.take}")


def _ratio(points: list[tuple[int, float]], start: int, end: int) -> float | None:
    """The value at the end by that at the start; None where both are the same point, which would be equal to itself."""
    if not points:
        return None
    (x0, first), (x1, last) = (_nearest(points, k) for k in (start, end))
    return last / first if first and x0 != x1 else None


def _at(points: list[tuple[int, float]], iteration: int) -> float:
    return _nearest(points, iteration)[1]


def _nearest(points: list[tuple[int, float]], iteration: int) -> tuple[int, float]:
    """The point at the iteration, or the nearest one that was measured."""
    return min(points, key=lambda point: abs(point[0] - iteration))


def _slope(points: list[tuple[int, float]]) -> float | None:
    """Slope of the least-squares line, per iteration."""
    x0 = math.fsum(x for x, _ in points) / len(points)
    y0 = math.fsum(y for _, y in points) / len(points)
    spread = math.fsum((x - x0) ** 2 for x, _ in points)
    return math.fsum((x - x0) * (y - y0) for x, y in points) / spread if spread else None


# -- over a factor --------------------------------------------------------------------------------------------
def measure_over(
    metric: Metric, by_level: Mapping[Value, float | None], failed: Collection[Value] = (), lower: bool = False
) -> float | None:
    """A metric over the levels of its factor: by_level has the metric `of` at each; None counts as no value.

    failed: levels at which the run diverged or was stopped at chance. No take chooses one of them, unless all are:
    by luck they may score more than a run that learned little. lower: whether small values are the good ones.
    """
    values = {level: value for level, value in by_level.items() if value is not None}
    if not values:
        return None
    ys = list(values.values())
    match metric.take:
        case "max":
            return max(ys)
        case "min":
            return min(ys)
        case "mean":
            return math.fsum(ys) / len(ys)
    trained = {level: value for level, value in values.items() if level not in failed}
    match metric.take:
        case "argmax" | "argmin":
            choose = max if metric.take == "argmax" else min
            return float(choose(trained or values, key=lambda level: values[level]))
        case "span" | "largest":
            good = _good_levels(metric, trained, -1 if lower else 1)
            if not good or metric.take == "largest":
                return max(good, default=None)
            return max(good) / min(good) if min(good) else None
    raise ValueError(f"unknown take {metric.take}")


def _good_levels(metric: Metric, values: Mapping[Value, float], sign: int) -> list[float]:
    """The levels that are about as good as the best one, and good enough. sign: -1 where small values are good."""
    least = -math.inf if metric.value is None else sign * metric.value
    if metric.within is not None and values:
        least = max(least, max(sign * value for value in values.values()) - metric.within)
    return [float(level) for level, value in values.items() if sign * value >= least]
