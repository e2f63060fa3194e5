"""The solver of a command that takes --model or --solver, changed by the flags that it has for a net."""

from __future__ import annotations

from collections.abc import Sequence

import click
from click.core import ParameterSource

from dragon.graph.changes import NetChanges
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.proto.text import read_solver_definition
from dragon.solver.changes import change_solver

__all__ = ["read_solver_of_flags", "set_train_state"]


def read_solver_of_flags(path: str) -> tuple[Definition[pb.SolverParameter], NetChanges, bool]:
    """The solver, what the flags change in its nets, and whether unknown fields of these are skipped.

    The flags are those of `net_options`, of the command that runs now: without --model there is no NetChoice that
    holds them. Raises PrototxtError, UsageError.
    """
    context = click.get_current_context()
    given = context.params
    definition = read_solver_definition(path, given["allow_unknown"], given["profile"])
    definition, changes = change_solver(definition, given["assignments"])
    level = None if context.get_parameter_source("level") is ParameterSource.DEFAULT else given["level"]
    set_train_state(definition.message, level, given["stages"])
    return definition, changes, given["allow_unknown"]


def set_train_state(param: pb.SolverParameter, level: int | None, stages: Sequence[str]) -> None:
    """Set the level of the net that is trained, unless None, and add to its stages."""
    if level is not None:
        param.train_state.level = level
    param.train_state.stage.extend(stages)
