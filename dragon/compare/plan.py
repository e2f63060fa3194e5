"""From a checked experiment to its runs: one self-contained solver for each variant, level of each factor, and seed.

A run's id is a hash of everything that decides its result (`dragon.compare.store`). So a run that was begun or finished
under the same definition is recognised, by other experiments too, and one whose definition has changed is run anew.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dragon.compare.averages import Rule
from dragon.compare.build import Built, Levels, Settings, Tested, build, forget_nets, placed
from dragon.compare.config import Experiment, Level, Variant
from dragon.compare.data_files import forget_files
from dragon.compare.nets import reads_data
from dragon.compare.schedule import set_iterations
from dragon.compare.store import run_key
from dragon.compare.training import is_small
from dragon.data import dataset_label
from dragon.files.paths import path_or_none
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.proto.text import format_text

__all__ = ["Plan", "Run", "cell_key", "make_plan"]

_MAX_RUNS = 20_000


@dataclass(frozen=True)
class Run:
    """One training run. `solver` holds all nets; `tests` says what each of its test nets is for."""

    id: str
    variant: str
    levels: Levels
    seed: int
    solver: pb.SolverParameter
    start_from: pb.NetParameter | None  # the train net whose initial weights it takes over; None: its own
    tests: list[Tested]
    averages: dict[str, Rule]  # running averages to test with, "global" (the net's own) first; empty: only its own
    exact_images: int
    exact_variance: str
    stop: dict[str, Any] | None
    probes: list[dict[str, Any]]
    threads: int | None  # None: as the pool decides
    net_folder: str | None = None  # where files are looked for that the lists of the nets name

    @property
    def base_lr(self) -> float:
        """The learning rate of the solver."""
        return float(f"{self.solver.base_lr:.7g}")

    @property
    def batch_statistics(self) -> bool:
        """Whether the net is tested by the statistics of the test batch too."""
        return any(test.statistics == "batch" for test in self.tests)

    @property
    def title(self) -> str:
        """The run as progress lines name it."""
        levels = [f"{name} {value}" for name, value in self.levels.items() if name != "base_lr"]
        return ", ".join([self.variant, *levels, f"rate {self.base_lr:g}", f"seed {self.seed}"])

    def content(self, engine: str, precision: str) -> dict[str, Any]:
        """What a worker gets."""
        start = format_text(self.start_from) if self.start_from is not None else None
        return {
            **self.settings(engine, precision),
            "solver": format_text(self.solver),
            "start_from": start,
            "fit_threads": self.threads is None,
            "net_folder": self.net_folder,
        }

    def key(self, engine: str, precision: str) -> str:
        """The hash of what decides the result."""
        return run_key(self.solver, self.start_from, self.settings(engine, precision), self.net_folder)

    def settings(self, engine: str, precision: str) -> dict[str, Any]:
        """What decides the result beside the solver and the net to start from."""
        exact = any(test.statistics == "exact" for test in self.tests)
        return {
            "engine": engine,
            "precision": precision,
            "tests": [[test.on, test.statistics] for test in self.tests],
            "averages": self.averages,
            "exact_images": self.exact_images if exact else None,
            "stop": self.stop,
            "probes": self.probes,
            **({"exact_variance": self.exact_variance} if exact and self.exact_variance != "pooled" else {}),
            # sums of several threads are rounded differently; a GPU does not use them
            **({"threads": self.threads} if (self.threads or 1) > 1 and engine != "cuda" else {}),
        }


@dataclass(frozen=True)
class Plan:
    """All runs of an experiment, with engine, precision and data set."""

    comparison: Experiment
    engine: str
    precision: str
    dataset: str  # label for readers: "CIFAR-10", "synthetic", ...
    runs: list[Run]

    @property
    def synthetic(self) -> bool:
        """Whether the data set is drawn by a program."""
        return "synthetic" in self.dataset.lower()

    def first(self, variant: str) -> Run:
        """The first run of a variant."""
        return next(run for run in self.runs if run.variant == variant)

    def cells(self) -> list[list[Run]]:
        """The runs of each variant and levels, over the seeds."""
        cells: dict[str, list[Run]] = {}
        for run in self.runs:
            cells.setdefault(cell_key(run.variant, run.levels), []).append(run)
        return list(cells.values())

    def with_iterations(self, iterations: int) -> Plan:
        """The same plan with at most `iterations` iterations for each run, its schedule in proportion.

        With `equal_images` that is the length of the longest one, and all have as many tests, after as many images.
        """
        runs = []
        tests = iterations // max(run.solver.test_interval for run in self.runs)
        for run in self.runs:
            solver = pb.SolverParameter()
            solver.CopyFrom(run.solver)
            most = tests * solver.test_interval if self.comparison.equal_images else iterations
            if solver.max_iter > most:
                set_iterations(solver, most, True)
            runs.append(self._named(replace(run, solver=solver)))
        return replace(self, runs=runs)

    def _named(self, run: Run) -> Run:
        return replace(run, id=run.key(self.engine, self.precision))


def cell_key(variant: str, levels: Mapping[str, Any]) -> str:
    """A name of the cell of a variant at some levels, for dictionaries."""
    return "|".join([variant, *(f"{name}={value}" for name, value in sorted(levels.items()))])


def make_plan(
    comparison: Experiment,
    engine: str,
    precision: str,
    dataset: str | None = None,
    settings: Callable[[str, Levels], Settings] | None = None,
    seeds: list[int] | None = None,
    share: Callable[[int], int] | None = None,
) -> Plan:
    """The runs of an experiment. Raises DragonError for wrong definitions.

    dataset: replaces that of the file. settings: those of a cell, by variant and levels, in place of the data set's
    alone. seeds: in place of the experiment's. share: the threads of each of so many runs; a variant's `threads` and
    a small net, which gets one, come before it.
    """
    forget_files()
    forget_nets()
    c = comparison
    usual = Settings(dataset=dataset or c.dataset)
    built: dict[str, Built] = {}

    def of(variant: Variant, levels: Levels) -> Built:
        key = cell_key(variant.name, levels)
        if key not in built:
            built[key] = build(c, variant, levels, settings(variant.name, levels) if settings else usual)
        return built[key]

    variants = {variant.name: variant for variant in c.variants}
    sources = {second: first for first, second in c.equal}
    empty = Plan(c, engine, precision, "", [])
    planned = {variant.name: _levels(c, variant) for variant in c.variants}
    count = sum(map(len, planned.values())) * len(seeds or c.seeds)
    if not 0 < count <= _MAX_RUNS:
        what = f"{count:,} runs are more than {_MAX_RUNS:,}" if count else '"only" leaves nothing to run'
        c.top.fail(what, "factors" if count else "only")
    runs = []
    for variant in c.variants:
        source = sources.get(variant.name)
        for levels in planned[variant.name]:
            found = of(variant, levels)
            start = None
            if source is not None:
                start = of(variants[source], _nearest_levels(c, variants[source], levels)).solver.train_net_param
            for seed in seeds or c.seeds:
                solver = pb.SolverParameter()
                solver.CopyFrom(found.solver)
                solver.random_seed = seed
                run = Run(
                    "", variant.name, levels, seed, solver, start, found.tests, found.averages, c.exact_images,
                    c.exact_variance, _stop(c), [{"name": p.name, "settings": p.settings} for p in c.probes],
                    variant.threads, found.net_folder,
                )  # fmt: skip
                runs.append(empty._named(run))
    if share is not None:
        runs = _with_threads(runs, share(len({run.id for run in runs})), empty)
    labels = {
        dataset_label(layer.data_param.source)
        for found in built.values()
        for layer in reads_data(found.solver.train_net_param)
    }
    return replace(empty, dataset=", ".join(sorted(labels)) or "data made by the net", runs=runs)


def _with_threads(runs: list[Run], threads: int, plan: Plan) -> list[Run]:
    """The runs with a number of threads: decided here, as those that are left after an interruption would get more."""
    small: dict[bytes, bool] = {}

    def of(run: Run) -> int:
        text = run.solver.train_net_param.SerializeToString(deterministic=True) if threads > 1 else b""
        if threads > 1 and text not in small:
            definition = Definition(run.solver.train_net_param, folder=path_or_none(run.net_folder))
            with placed(plan.comparison, plan.comparison.variant(run.variant)):
                small[text] = is_small(definition)
        return 1 if small.get(text) else threads

    return [run if run.threads else plan._named(replace(run, threads=of(run))) for run in runs]


def _levels(c: Experiment, variant: Variant) -> list[Levels]:
    """The combinations of levels at which a variant is trained."""
    factors = {factor.name: factor.levels for factor in c.factors}
    if variant.learning_rates:
        factors["base_lr"] = tuple(Level(rate) for rate in variant.learning_rates)
    if math.prod(map(len, factors.values())) > _MAX_RUNS:
        c.top.fail(f"the factors have more than {_MAX_RUNS:,} combinations", "factors")
    combined = [
        dict(zip(factors, (level.value for level in levels), strict=True))
        for levels in itertools.product(*factors.values())
    ]
    return [levels for levels in combined if not c.only or any(_selected(o, variant, levels) for o in c.only)]


def _nearest_levels(c: Experiment, variant: Variant, levels: Levels) -> Levels:
    """The levels of a variant that agree with `levels` most, among equal ones the first."""
    candidates = _levels(c, variant) or [levels]
    return max(candidates, key=lambda one: sum(one.get(name) == value for name, value in levels.items()))


def _selected(only: Mapping[str, Any], variant: Variant, levels: Levels) -> bool:
    cell = {"variant": variant.name, **levels}
    return all(cell.get(key) == value for key, value in only.items())


def _stop(c: Experiment) -> dict[str, Any] | None:
    return None if c.stop is None else {"output": c.stop.output, "value": c.stop.value, "at": c.stop.at}
