"""One cell of an experiment as a self-contained solver: the nets after all changes, the data, the tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from dragon.compare.averages import Rule, follow, own_rule
from dragon.compare.config import Change, Experiment, Value, Variant
from dragon.compare.nets import (
    fix_paths,
    normalised,
    override_layers,
    reads_data,
    record_count,
    set_batch_size,
    set_shuffle,
    testing_on_training_set,
    use_dataset,
)
from dragon.compare.operations import operate
from dragon.compare.read_variants import BATCH_SIZE
from dragon.compare.schedule import fit_tests, set_iterations
from dragon.compare.solver_fields import assign_solver, check_solver, override_solver, set_field
from dragon.errors import DataError, DragonError, PrototxtError, UsageError
from dragon.files.paths import split_paths
from dragon.graph.chains import phases
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.proto.text import read_net_definition, read_solver

__all__ = ["Built", "Settings", "Tested", "build", "forget_nets", "placed"]

Levels = dict[str, Value]


@dataclass(frozen=True)
class Tested:
    """What a test net tests, "test" or "train", by the statistics "global", "batch", "exact" or those of an average."""

    on: str
    statistics: str


@dataclass(frozen=True)
class Settings:
    """Where a cell's data come from, and what tuning found: fields of the solver. test: part that test nets read."""

    dataset: str | None = None
    test: str = "test"
    tuned: Mapping[str, float] = field(default_factory=dict)
    iterations: int | None = None  # in place of the experiment's


@dataclass(frozen=True)
class Built:
    """A cell's solver, with its nets inside; one entry of `tests` for each test net; averages to test with.

    net_folder: that of the net's file, in which files are looked for that lists name.
    """

    solver: pb.SolverParameter
    tests: list[Tested]
    averages: dict[str, Rule]
    net_folder: str | None = None


def build(c: Experiment, variant: Variant, levels: Levels, settings: Settings) -> Built:
    """A variant at some levels. Raises UsageError or DataError, with the place in the file, for what is wrong."""
    with placed(c, variant):
        return _build(c, variant, levels, settings)


@contextmanager
def placed(c: Experiment, variant: Variant) -> Iterator[None]:
    """Give an error without a place, in the experiment's file or on the command line, that of a variant."""
    try:
        yield
    except DragonError as error:
        if str(error).startswith((f"{c.file}:", "--set ")):
            raise
        kind = UsageError if isinstance(error, UsageError) else DataError
        raise kind(variant.section.at(f'variant "{variant.name}": {error}')) from None


def _build(c: Experiment, variant: Variant, levels: Levels, settings: Settings) -> Built:
    solver = read_solver(variant.solver)
    definition = _net_read(str(variant.net or _net_of(solver, variant)), solver.profile or None)
    fix_paths(definition)
    if settings.dataset:
        use_dataset(definition.message, settings.dataset, settings.test)
    if c.set is not None:
        override_solver(c, solver, c.set)
    net = definition.message
    for change in (*variant.changes, *_changes(c, levels)):
        net = operate(net, change.surgery, definition.folder)
        if change.layers is not None:
            override_layers(net, change.layers)
        if change.set is not None:
            override_solver(c, solver, change.set)
    batch = _set_levels(c, solver, net, levels, settings.tuned)
    assign_solver(c, solver)
    if c.net_changes is not None:
        net = c.net_changes.apply(Definition(net)).message
    if c.shuffle is not None:
        set_shuffle(net, c.shuffle)
    sizes = _sizes(net)
    averages = _rules(net, variant)
    for name in ("net", "train_net", "test_net", "test_state", "train_state", "net_param"):
        solver.ClearField(name)
    if averages:
        if solver.iter_size > 1:
            variant.section.fail("averages need iter_size 1", "averages")
        follow(net)
    tests = _tests(c, net, averages)
    solver.train_net_param.CopyFrom(net)
    for test in tests:
        solver.test_net_param.add().CopyFrom(testing_on_training_set(net) if test.on == "train" else net)
    _set_length(c, variant, solver, settings.iterations or c.iterations, batch)
    batches = c.test_batches or (solver.test_iter[0] if solver.test_iter else 1)
    del solver.test_iter[:]
    solver.test_iter.extend(min(batches, sizes[test.on] or batches) for test in tests)
    solver.test_initialization = False
    solver.display = 0
    solver.snapshot = 0
    solver.snapshot_after_train = False
    start = [path for text in solver.weights for path in split_paths(text, variant.solver.parent)]
    for path in start:
        if not Path(path).is_file():
            raise DataError(f"weights: no such file: {path}")
    solver.ClearField("weights")
    solver.weights.extend(start)
    check_solver(solver)
    folder = None if definition.folder is None else str(definition.folder.resolve())
    return Built(solver, tests, averages, folder)


def forget_nets() -> None:
    """Read nets again: until the next call they count as they were when they were first read."""
    _net_once.cache_clear()


def _net_read(path: str, profile: str | None) -> Definition[pb.NetParameter]:
    """A net to be changed: the cells of a variant begin with the same one."""
    once = _net_once(path, profile)
    net = pb.NetParameter()
    net.CopyFrom(once.message)
    return replace(once, message=net)


@lru_cache(maxsize=64)
def _net_once(path: str, profile: str | None) -> Definition[pb.NetParameter]:
    return read_net_definition(path, profile=profile)


def _changes(c: Experiment, levels: Levels) -> list[Change]:
    """The changes of the named levels, in the order of the factors."""
    return [
        level.change
        for factor in c.factors
        for level in factor.levels
        if level.change is not None and level.value == levels.get(factor.name)
    ]


def _set_levels(
    c: Experiment, solver: pb.SolverParameter, net: pb.NetParameter, levels: Levels, tuned: Mapping[str, float]
) -> float:
    """Set the fields that levels and tuning name; return the size of the training batch as a multiple of the net's."""
    share = 1.0
    for name, value in {**tuned, **levels}.items():
        if name == BATCH_SIZE:
            before = set_batch_size(net, int(value))
            if before is None:
                c.top.fail("the net reads no database whose batch_size could be a factor", "factors")
            share = int(value) / before
        elif name in solver.DESCRIPTOR.fields_by_name and not _is_named(c, name):
            set_field(c, solver, name, value)
    return share


def _is_named(c: Experiment, name: str) -> bool:
    return any(factor.name == name and factor.levels[0].change is not None for factor in c.factors)


def _tests(c: Experiment, net: pb.NetParameter, averages: Mapping[str, Rule]) -> list[Tested]:
    """One test net for each data set and statistics; running statistics (global) always."""
    statistics = ["global"]
    if normalised(net):
        statistics += [name for name in c.statistics if name != "global"]
    followed = [Tested("test", name) for name in list(averages)[1:]]
    on_test = [Tested("test", name) for name in statistics]
    on_train = [Tested("train", name) for name in statistics] if "train" in c.test_on else []
    return [*on_test, *followed, *on_train]


def _set_length(
    c: Experiment, variant: Variant, solver: pb.SolverParameter, iterations: int | None, batch: float
) -> None:
    if iterations:
        set_iterations(solver, iterations, c.scale_schedule)
    if solver.max_iter < 1:
        variant.section.fail(f'variant "{variant.name}" has no iterations: neither here nor max_iter in its solver')
    interval = c.test_interval
    if c.equal_images and batch != 1:
        interval = max(1, round((interval or solver.test_interval or solver.max_iter) / batch))
        set_iterations(solver, max(1, round(solver.max_iter / batch)), True)
    fit_tests(solver, interval)


def _rules(net: pb.NetParameter, variant: Variant) -> dict[str, Rule]:
    """The net's own average, as "global", and those of the variant; empty for a variant without."""
    if not variant.averages:
        return {}
    named: dict[str, Rule] = {
        one.name: {
            "rule": pb.AverageRule.Value(one.rule), "fraction": one.fraction, "decay_statistics": one.decay_statistics,
        }
        for one in variant.averages
    }  # fmt: skip
    return {"global": own_rule(net), **named}


def _net_of(solver: pb.SolverParameter, variant: Variant) -> Path:
    if not solver.net:
        raise UsageError(f"{variant.solver}: a comparison needs a solver with one net for training and testing")
    beside = variant.solver.parent
    candidates = (Path(solver.net), beside / solver.net, beside / Path(solver.net).name)
    return next((p for p in candidates if p.exists()), candidates[0])


def _sizes(net: pb.NetParameter) -> dict[str, int]:
    """Full batches of a test of the "test" and of the "train" set; 0 for a net that reads no database for it."""
    for layer in reads_data(net):
        _records(layer)
    sets = {"test": net, "train": testing_on_training_set(net)}
    tested = {on: [_records(one) for one in reads_data(n) if pb.TEST in phases(one)] for on, n in sets.items()}
    return {on: min(filter(None, counts), default=0) for on, counts in tested.items()}


def _records(layer: pb.LayerParameter) -> int:
    """Full batches that a data layer's source holds; DataError, with what to do, when it is not there."""
    p = layer.data_param
    if p.batch_size < 1:
        raise PrototxtError(f'layer "{layer.name}" ({layer.type}) needs a batch_size of at least 1')
    return record_count(layer) // p.batch_size
