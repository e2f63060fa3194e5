"""Experiment: what an experiment file says, read and checked by `dragon.compare.reading`.

`docs/experiment.yaml` is a file with every key and what it means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dragon.files.yaml_section import Section
from dragon.graph.changes import NetChanges
from dragon.proto.assign import Assignment

__all__ = [
    "Average",
    "Change",
    "Contrast",
    "Cost",
    "CostSetting",
    "Experiment",
    "Factor",
    "Level",
    "Metric",
    "Operation",
    "Picture",
    "ProbeSetting",
    "Selection",
    "Stop",
    "Tune",
    "Variant",
]

Value = float | int | str
Place = int | str  # an iteration, or a share of the run such as "10%"
Selection = Mapping[str, Value]  # "variant" and levels of factors, by name: the cells that have all of them


# -- what is trained ------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Operation:
    """One step of `surgery:`: an operation of dragon.surgery with its arguments. section: where it stands."""

    name: str
    arguments: dict[str, Any]
    section: Section


@dataclass(frozen=True)
class Change:
    """What a variant or a level changes: first surgery, then fields of layers by type or name; fields of the solver."""

    surgery: tuple[Operation, ...] = ()
    layers: Section | None = None
    set: Section | None = None


@dataclass(frozen=True)
class Average:
    """A running average to test with beside the net's own. name: of its series, after the @."""

    name: str
    rule: str
    fraction: float
    decay_statistics: bool = False  # weight decay shrinks the running statistics, as if they were learned


@dataclass(frozen=True)
class Variant:
    """A net and a solver with changes. net: None for that of the solver. changes: those of its `base` first."""

    name: str
    solver: Path
    net: Path | None
    changes: tuple[Change, ...]
    averages: tuple[Average, ...]
    learning_rates: list[float]
    description: str
    threads: int | None
    section: Section


@dataclass(frozen=True)
class Level:
    """One level of a factor: its value or name, and what a named level changes."""

    value: Value
    change: Change | None = None


@dataclass(frozen=True)
class Factor:
    """A field of the solver, `batch_size`, or any other name with levels that are changes."""

    name: str
    levels: tuple[Level, ...]


@dataclass(frozen=True)
class Tune:
    """A grid search of every variant on the validation split. over: lists of values by field of the solver."""

    over: dict[str, list[float]]
    on: str
    metric: str
    seeds: list[int]
    iterations: int | None
    section: Section


@dataclass(frozen=True)
class Stop:
    """A run ends when `output` of a test is at most `value` at iteration `at` or later."""

    output: str
    value: float
    at: int


@dataclass(frozen=True)
class CostSetting:
    """How steps are timed. engine, precision: None for those of the runs. fuse: whether the engine may fuse layers."""

    name: str
    engine: str | None
    precision: str | None
    fuse: bool


@dataclass(frozen=True)
class Cost:
    """Times the training step of all cells, for so many seconds in each setting."""

    seconds: float
    settings: tuple[CostSetting, ...]


@dataclass(frozen=True)
class ProbeSetting:
    """A probe of dragon.probes with its settings. section: where it stands."""

    name: str
    settings: dict[str, Any]
    section: Section


# -- what is asked --------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Metric:
    """A number for each run, or with `over` for each variant and seed.

    Either `series` and `take`; or `minus`, the difference of two metrics; or `quotient`, the first of two metrics over
    the other, to the power `power`; or `of` (a metric), `over` (a factor) and `take`. Only points from `start` to `end`
    count. A * in a name stands for any characters, the same ones in `series`, `less` and `per`; the metric is the mean
    over all series that fit.
    """

    name: str
    take: str = "last"  # for what a take needs, see dragon.compare.metrics
    series: str | None = None
    less: str | None = None  # a series to subtract, point by point
    per: str | None = None  # a series to divide by, after that
    minus: tuple[str, str] | None = None
    quotient: tuple[str, str] | None = None
    power: float | None = None
    of: str | None = None
    over: str | None = None
    value: float | None = None
    iter: Place | None = None
    start: Place | None = None  # `from` and `to`
    end: Place | None = None
    within: float | None = None
    section: Section | None = None


@dataclass(frozen=True)
class Contrast:
    """A question with a tested answer: a metric of some cells, against that of others with the same seeds."""

    name: str
    metric: str
    of: Selection
    against: Selection | None
    scale: str  # "difference", "ratio" or "sd_ratio"
    expect: str | None  # as in the file, such as "> 0" or "within 0.01"
    primary: bool
    deterministic: bool
    section: Section


@dataclass(frozen=True)
class Picture:
    """The first picture of the report: a series over iterations, a metric over a factor, or several metrics in rows.

    log: of the x axis.
    """

    series: str | None
    metric: str | None
    metrics: tuple[str, ...]
    over: str | None
    log: bool
    where: Selection  # draws only these cells
    section: Section | None = None


@dataclass(frozen=True)
class Experiment:
    """A checked experiment file."""

    file: str
    text: str
    name: str
    description: str
    claim: str
    source: str
    expected: str
    quick: bool  # read with the changes of `quick`
    seeds: list[int]
    iterations: int | None
    scale_schedule: bool
    budget_s: float | None
    test_interval: int | None
    test_batches: int | None
    dataset: str | None
    shuffle: bool | None
    set: Section | None
    equal: list[tuple[str, str]]
    equal_images: bool
    variants: list[Variant]
    factors: list[Factor]
    only: list[Selection]
    tune: Tune | None
    stop: Stop | None
    statistics: tuple[str, ...]  # of "global", "batch", "exact"
    exact_images: int  # for exact statistics
    exact_variance: str  # of theirs, one of dragon.surgery.recalibrate.VARIANCES
    test_on: tuple[str, ...]  # of "test", "train"
    probes: list[ProbeSetting]
    cost: Cost | None
    metrics: dict[str, Metric]
    contrasts: list[Contrast]
    picture: Picture | None
    top: Section
    assignments: tuple[Assignment, ...] = ()  # to the solver of every variant, as `--set`
    net_changes: NetChanges | None = None  # to its nets

    def variant(self, name: str) -> Variant:
        """The variant of a name that there is."""
        return next(variant for variant in self.variants if variant.name == name)
