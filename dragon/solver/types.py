"""Solver classes by update rule, as scripts use them: an SGDSolver trains with SGD whatever `type` says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from google.protobuf.message import DecodeError
from numpy.typing import DTypeLike

from dragon.engines import Options
from dragon.errors import UsageError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.solver.solver import Solver

if TYPE_CHECKING:
    from dragon.graph.changes import NetChanges
    from dragon.parallel.ranks import Ranks

__all__ = [
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "AdamWSolver",
    "LAMBSolver",
    "LARSSolver",
    "NesterovSolver",
    "RMSPropSolver",
    "SGDSolver",
    "SolverSettings",
    "get_solver",
    "get_solver_from_string",
]


class SGDSolver(Solver):
    """A solver with stochastic gradient descent and momentum."""

    rule_name = "SGD"


class NesterovSolver(Solver):
    """A solver with Nesterov's accelerated gradient."""

    rule_name = "Nesterov"


class AdaGradSolver(Solver):
    """A solver with AdaGrad."""

    rule_name = "AdaGrad"


class RMSPropSolver(Solver):
    """A solver with RMSProp."""

    rule_name = "RMSProp"


class AdaDeltaSolver(Solver):
    """A solver with AdaDelta."""

    rule_name = "AdaDelta"


class AdamSolver(Solver):
    """A solver with Adam."""

    rule_name = "Adam"


class AdamWSolver(Solver):
    """A solver with Adam and decoupled weight decay."""

    rule_name = "AdamW"


class LARSSolver(Solver):
    """A solver with momentum and a rate for each learned blob by the norms of its weights and gradient."""

    rule_name = "LARS"


class LAMBSolver(Solver):
    """A solver with Adam whose step of each learned blob has a norm in proportion to that of its weights."""

    rule_name = "LAMB"


# not whatever subclasses there are: a script may have made some
_CLASSES: dict[str | None, type[Solver]] = {
    cls.rule_name: cls
    for cls in (
        SGDSolver, NesterovSolver, AdaGradSolver, RMSPropSolver, AdaDeltaSolver,
        AdamSolver, AdamWSolver, LARSSolver, LAMBSolver,
    )
}  # fmt: skip


class SolverSettings(TypedDict, total=False):
    """Keyword arguments of `Solver`."""

    engine: str | None
    options: Options | None
    seed: int | None
    allow_python: bool | None
    allow_unknown: bool
    profile: str | None
    dtype: DTypeLike
    verbose: bool
    changes: NetChanges | None
    net_folder: Path | None
    ranks: Ranks | None
    divided: bool
    sync_bn: bool
    wire: str
    reduce: str
    timeline: bool


def get_solver(
    param: str | Path | pb.SolverParameter | Definition[pb.SolverParameter], **settings: Unpack[SolverSettings]
) -> Solver:
    """The solver of a definition, of the class that belongs to its `type`. Raises PrototxtError."""
    solver = Solver(param, **settings)
    solver.__class__ = _CLASSES[solver.param.type]
    return solver


def get_solver_from_string(param: str | bytes, **settings: Unpack[SolverSettings]) -> Solver:
    """As `get_solver`, of the text of a prototxt, or of a serialised SolverParameter: what two forks of Caffe have.

    Raises PrototxtError for a text that cannot be read, UsageError for bytes that are no message.
    """
    message = pb.SolverParameter()
    if isinstance(param, str):
        from dragon.proto.text import parse_text

        parse_text(param, message)
    else:
        try:
            message.ParseFromString(param)
        except DecodeError:
            raise UsageError("get_solver_from_string: these bytes are no serialised SolverParameter") from None
    return get_solver(message, **settings)
