"""Settings of a solver and of its nets that are changed after it is read: `base_lr=0.01`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from dragon.graph.changes import NetChanges
from dragon.proto import dragon_pb2 as pb
from dragon.proto.assign import Assignment, has_field
from dragon.proto.definition import Definition
from dragon.proto.upgrade import upgrade_solver

__all__ = ["change_solver", "solver_path"]

_SOLVER = "solver."
_NETS = ("net", "train_net", "test_net")  # paths of nets: with a dot behind it, `net` is the net itself


def solver_path(assignment: Assignment) -> str | None:
    """The path of the solver's field that an assignment sets; None for one to a net."""
    quoted, path = assignment.split_quoted()
    if quoted is not None:
        return None
    if path.startswith(_SOLVER):
        return path.removeprefix(_SOLVER)
    first, dot, _ = path.partition(".")
    if dot and first in _NETS:
        return None
    alone = not dot and "[" not in path and not has_field(pb.NetParameter(), path)  # an unknown field of the solver
    return path if has_field(pb.SolverParameter(), path) or alone else None


def change_solver(
    definition: Definition[pb.SolverParameter], assignments: Iterable[Assignment]
) -> tuple[Definition[pb.SolverParameter], NetChanges]:
    """The solver with the assignments to its fields, and those to its nets. Raises UsageError.

    A path whose first name is a field of SolverParameter sets that; `solver.` in front of it may say so. Others are as
    NetChanges takes them, also with `net.` in front.
    """
    param = pb.SolverParameter()
    param.CopyFrom(definition.message)
    of_nets, changed = [], []
    for assignment in assignments:
        path = solver_path(assignment)
        if path is None:
            of_nets.append(assignment)
            continue
        assignment.set(param, path)
        changed.append(re.split(r"[.\[]", path)[0])
        if path == "solver_type":
            param.ClearField("type")
    solver = replace(definition.without_lines(changed), message=upgrade_solver(param))
    return solver, NetChanges(of_nets, pb.SolverParameter.DESCRIPTOR.fields_by_name)
