"""From a checked comparison to its runs: one self-contained solver for each variant, learning rate and seed.

A run's id is a readable name and a hash of everything that decides its result. So a run that was begun or finished
under the same definition is recognised, and one whose definition has changed is run anew.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

from dragon.compare.averages import FRACTIONS, Rule, follow, own_rule
from dragon.compare.config import Comparison, Variant
from dragon.compare.nets import fix_paths, normalised, override, override_layers, reads_data, use_dataset
from dragon.data import dataset_label, open_source
from dragon.errors import DataError, DragonError, UsageError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import format_text, read_net_definition, read_solver
from dragon.version import __version__

__all__ = ["Plan", "Run", "make_plan"]

_NOT_IN_HASH = ("snapshot_prefix", "display", "snapshot", "debug_info")


@dataclass(frozen=True)
class Run:
    """One training run. `solver` holds both nets; the second test net, if any, tests with batch statistics."""

    id: str
    variant: str
    base_lr: float
    seed: int
    solver: pb.SolverParameter
    start_from: pb.NetParameter | None  # the train net whose initial weights it takes over; None: its own
    batch_statistics: bool
    averages: dict[str, Rule]  # running averages to test with, "global" (the net's own) first; empty: only its own


@dataclass(frozen=True)
class Plan:
    """All runs of a comparison, with engine, precision and data set."""

    comparison: Comparison
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

    def with_iterations(self, iterations: int) -> Plan:
        """The same plan with at most `iterations` iterations for each run, its schedule in proportion."""
        runs = []
        for run in self.runs:
            solver = pb.SolverParameter()
            solver.CopyFrom(run.solver)
            if solver.max_iter > iterations:
                _set_iterations(solver, iterations, True)
            runs.append(self._named(replace(run, solver=solver)))
        return replace(self, runs=runs)

    def _named(self, run: Run) -> Run:
        return replace(run, id=_run_id(run, self.engine, self.precision))


def make_plan(comparison: Comparison, engine: str, precision: str, dataset: str | None = None) -> Plan:
    """The runs of a comparison. dataset: replaces that of the file. Raises DragonError for wrong definitions."""
    dataset = dataset or comparison.dataset
    built = {v.name: _solver(comparison, v, dataset) for v in comparison.variants}
    solvers = {name: solver for name, (solver, _) in built.items()}
    starts = {second: solvers[first].train_net_param for first, second in comparison.equal}
    runs = []
    for variant in comparison.variants:
        rates = variant.learning_rates or [solvers[variant.name].base_lr]
        for rate in rates:
            for seed in comparison.seeds:
                solver = pb.SolverParameter()
                solver.CopyFrom(solvers[variant.name])
                solver.base_lr = rate
                solver.random_seed = seed
                both = len(solver.test_net_param) > 1
                run = Run("", variant.name, rate, seed, solver, starts.get(variant.name), both, built[variant.name][1])
                runs.append(replace(run, id=_run_id(run, engine, precision)))
    labels = {
        dataset_label(layer.data_param.source)
        for solver in solvers.values()
        for layer in reads_data(solver.train_net_param)
    }
    return Plan(comparison, engine, precision, ", ".join(sorted(labels)) or "data made by the net", runs)


def _solver(c: Comparison, variant: Variant, dataset: str | None) -> tuple[pb.SolverParameter, dict[str, Rule]]:
    """A variant's solver with its nets inside and all overrides applied, and the averages to test it with."""
    solver = read_solver(variant.solver)
    definition = read_net_definition(variant.net or _net_of(solver, variant))
    net = definition.message
    if variant.set:
        override(solver, variant.set)
    if variant.layers:
        override_layers(net, variant.layers)
    try:
        use_dataset(net, dataset) if dataset else fix_paths(definition)
        counts = [_records(layer) for layer in reads_data(net)]
        averages = _rules(net, variant)
    except DragonError as error:
        raise DataError(f'{c.file}: variant "{variant.name}": {error}') from None
    for field in ("net", "train_net", "test_net", "test_state", "train_state", "net_param"):
        solver.ClearField(field)
    if variant.averages:
        if solver.iter_size > 1:
            variant.section.fail("averages need iter_size 1", "averages")
        follow(net)
    solver.train_net_param.CopyFrom(net)
    solver.test_net_param.add().CopyFrom(net)
    if normalised(net):
        solver.test_net_param.add().CopyFrom(net)
    for _ in variant.averages:
        solver.test_net_param.add().CopyFrom(net)
    if c.iterations:
        _set_iterations(solver, c.iterations, c.scale_schedule)
    if solver.max_iter < 1:
        variant.section.fail(f'variant "{variant.name}" has no iterations: neither here nor max_iter in its solver')
    batches = c.test_batches or (solver.test_iter[0] if solver.test_iter else 1)
    if counts and counts[-1]:
        batches = min(batches, counts[-1])
    interval = min(c.test_interval or solver.test_interval or solver.max_iter, solver.max_iter)
    solver.test_interval = interval
    solver.max_iter = max(1, solver.max_iter // interval) * interval  # a test falls on the end
    del solver.test_iter[:]
    solver.test_iter.extend([batches] * len(solver.test_net_param))
    solver.test_initialization = False
    solver.display = 0
    solver.snapshot = 0
    solver.snapshot_after_train = False
    return solver, averages


def _rules(net: pb.NetParameter, variant: Variant) -> dict[str, Rule]:
    if not variant.averages:
        return {}
    named: dict[str, Rule] = {
        name: {"rule": pb.AverageRule.Value(name), "fraction": FRACTIONS[name]} for name in variant.averages
    }
    return {"global": own_rule(net), **named}


def _net_of(solver: pb.SolverParameter, variant: Variant) -> Path:
    if not solver.net:
        raise UsageError(f"{variant.solver}: a comparison needs a solver with one net for training and testing")
    beside = variant.solver.parent
    candidates = (Path(solver.net), beside / solver.net, beside / Path(solver.net).name)
    return next((p for p in candidates if p.exists()), candidates[0])


def _records(layer: pb.LayerParameter) -> int:
    """Full batches that a data layer's source holds; DataError, with what to do, when it is not there."""
    p = layer.data_param
    if not Path(p.source).exists():
        raise DataError(f'"{p.source}" does not exist; `dragon data` fetches or draws data sets')
    reader = open_source(p.source, p.backend)
    try:
        return len(reader) // max(1, p.batch_size)
    finally:
        reader.close()


def _set_iterations(solver: pb.SolverParameter, iterations: int, scale: bool) -> None:
    if scale and solver.max_iter:
        factor = iterations / solver.max_iter
        steps = [max(1, math.floor(value * factor + 0.5)) for value in solver.stepvalue]
        del solver.stepvalue[:]
        solver.stepvalue.extend(steps)
        for field in ("stepsize", "warmup_iter"):
            if getattr(solver, field):
                setattr(solver, field, max(1, math.floor(getattr(solver, field) * factor + 0.5)))
    solver.max_iter = iterations


def _run_id(run: Run, engine: str, precision: str) -> str:
    solver = pb.SolverParameter()
    solver.CopyFrom(run.solver)
    for field in _NOT_IN_HASH:
        solver.ClearField(field)
    sources = [dataset_label(layer.data_param.source) for layer in reads_data(solver.train_net_param)]
    start = format_text(run.start_from) if run.start_from else ""
    content = json.dumps([format_text(solver), start, run.seed, run.averages, engine, precision, sources, __version__])
    digest = hashlib.sha256(content.encode()).hexdigest()[:12]
    return f"{run.variant}_lr{run.base_lr:g}_seed{run.seed}_{digest}"
