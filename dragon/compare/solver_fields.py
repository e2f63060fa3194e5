"""Fields of the solver that an experiment sets: which of them it decides itself, and checks of the result."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from dragon.compare.config import Experiment, Value
from dragon.compare.nets import override
from dragon.errors import PrototxtError, UsageError
from dragon.files.yaml_section import Section
from dragon.graph.changes import NetChanges
from dragon.proto import dragon_pb2 as pb
from dragon.proto.assign import Assignment
from dragon.solver.changes import solver_path
from dragon.solver.definition import check
from dragon.solver.rules import make_rule

__all__ = ["assign_solver", "check_free", "check_solver", "override_solver", "set_field", "with_assignments"]

# what an experiment decides by keys of its own, or by itself
_DECIDED: Mapping[str, str] = {
    "random_seed": "seeds", "test_iter": "test_batches", "test_state": "variants", "train_state": "variants",
    **dict.fromkeys(("net", "net_param", "train_net", "train_net_param", "test_net", "test_net_param"), "variants"),
    **dict.fromkeys(
        (
            "debug_info", "display", "snapshot", "snapshot_prefix", "snapshot_after_train", "snapshot_diff",
            "snapshot_format", "test_initialization",
        ), "",
    ),
}  # fmt: skip
_OF_COMMAND = {"device_id": "--engine", "engine": "--engine", "precision": "--precision", "solver_mode": "--engine"}


def _decided(c: Experiment, field: str) -> str:
    """What decides a field, so that a value has no effect, in words; empty for a free field."""
    if field in _OF_COMMAND:
        return f"{_OF_COMMAND[field]} of the command decides it"
    if (field == "max_iter" and c.iterations) or (field == "test_interval" and c.test_interval):
        key: str | None = "iterations" if field == "max_iter" else field
    else:
        key = _DECIDED.get(field)
    if key is None:
        return ""
    return f'"{key}" of the experiment decides it' if key else "an experiment decides it by itself"


def check_free(c: Experiment, field: str, section: Section) -> None:
    """Raise UsageError, at its line, for a field that the experiment decides: a value would have no effect."""
    if how := _decided(c, field):
        section.fail(f'"{section.name(field)}" has no effect: {how}', field)


def override_solver(c: Experiment, solver: pb.SolverParameter, changes: Section) -> None:
    """Set the fields that a mapping of the file names. Raises UsageError."""
    for field in changes.values:
        check_free(c, field, changes)
    override(solver, changes)


def set_field(c: Experiment, solver: pb.SolverParameter, name: str, value: Value) -> None:
    """Set a field to the level of a factor, or to what tuning found. Raises UsageError."""
    places = (c.top.section("factors"), c.tune.section.section("over") if c.tune is not None else None)
    section = next((place for place in places if place is not None and name in place.values), c.top)
    check_free(c, name, section)
    known = solver.DESCRIPTOR.fields_by_name[name]
    whole = known.cpp_type in (known.CPPTYPE_INT32, known.CPPTYPE_INT64, known.CPPTYPE_UINT32, known.CPPTYPE_UINT64)
    try:
        setattr(solver, name, int(value) if whole and float(value) == int(value) else value)
    except (TypeError, ValueError, AttributeError):
        section.fail(f'the solver\'s field "{name}" does not take {value!r}', name)


def with_assignments(c: Experiment, assignments: Iterable[Assignment]) -> Experiment:
    """The experiment with assignments to the solver and the nets of every variant."""
    paths = {one: solver_path(one) for one in assignments}
    of_nets = NetChanges(
        (one for one, path in paths.items() if path is None), pb.SolverParameter.DESCRIPTOR.fields_by_name
    )
    return replace(c, assignments=tuple(one for one, path in paths.items() if path is not None), net_changes=of_nets)


def assign_solver(c: Experiment, solver: pb.SolverParameter) -> None:
    """Set the fields that `--set` names. Raises UsageError, also for one that the experiment decides or varies."""
    varied = {factor.name for factor in c.factors} | set(c.tune.over if c.tune is not None else ())
    for assignment in c.assignments:
        path = solver_path(assignment) or ""
        field = re.split(r"[.\[]", path, maxsplit=1)[0]
        how = _decided(c, field)
        if how or field in varied:
            assignment.fail("the experiment varies it" if field in varied else f"it would have no effect: {how}")
        assignment.set(solver, path)


def check_solver(solver: pb.SolverParameter) -> None:
    """Raise UsageError for settings that no solver takes, such as an unknown type or policy."""
    try:
        check(solver)
        make_rule(solver)
    except PrototxtError as error:
        raise UsageError(str(error)) from None
