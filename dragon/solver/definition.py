"""Checks of a SolverParameter, and the nets that it names."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from dragon.bases.finite import numbers
from dragon.bases.layer import TEST, TRAIN
from dragon.counting import how_many
from dragon.engines import ENGINES
from dragon.errors import ArgumentTypeError, PrototxtError, SolverFieldError
from dragon.files.paths import find, missing_hint
from dragon.graph.detection_scores import AP_VERSIONS
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.proto.dialects import set_profile
from dragon.proto.upgrade import upgrade_solver
from dragon.solver.choice import REGULARIZERS, check_choice
from dragon.solver.rate import check_policy, useless_settings
from dragon.solver.rules import RULES

__all__ = [
    "NetChoice",
    "check",
    "find_model",
    "naming_file",
    "own_definition",
    "test_choices",
    "train_choice",
    "warnings",
]

_NOT_NEGATIVE = (
    "display", "test_interval", "snapshot", "max_iter", "weight_decay", "delta", "warmup_iter", "min_lr",
)  # fmt: skip
_SINGLE = {field.name for field in pb.SolverParameter.DESCRIPTOR.fields if field.message_type is None}
_UNLIMITED = {"clip_gradients"}  # limits: an infinite one limits nothing, as in Caffe
EVAL_TYPES = ("classification", "detection")
NetChoice = tuple[str | pb.NetParameter, int, pb.NetState | None]
"""Model (a path or the net itself), phase, and the state that the solver sets for it, or None."""


def own_definition(
    param: str | Path | pb.SolverParameter | Definition[pb.SolverParameter],
    *,
    rule: str | None,
    profile: str | None,
    allow_unknown: bool,
) -> Definition[pb.SolverParameter]:
    """A copy of a solver's definition, or of what its file holds, with its update rule and profile set, and checked.

    Raises PrototxtError for a definition that cannot work, and UsageError for anything else.
    """
    if isinstance(param, pb.SolverParameter):
        given = Definition(param)
    elif isinstance(param, Definition):
        given = param
    elif not isinstance(param, str | Path):
        raise ArgumentTypeError(f"a solver is the path of a prototxt or a SolverParameter, got {param!r:.80}")
    else:
        from dragon.proto.text import read_solver_definition

        given = read_solver_definition(param, allow_unknown=allow_unknown)
    message = pb.SolverParameter()
    message.CopyFrom(given.message)
    if rule:
        message.ClearField("solver_type")
        message.type = rule
    with naming_file(given):
        set_profile(message, profile)
        message = upgrade_solver(message)
        check(message)
    return replace(given, message=message)


@contextmanager
def naming_file(definition: Definition[pb.SolverParameter]) -> Iterator[None]:
    """Add the definition's file to a PrototxtError, and the line of the setting that it is about; a context manager."""
    try:
        yield
    except SolverFieldError as error:
        error.at(position=definition.position_of(error.field))
        raise
    except PrototxtError as error:
        error.at(position=definition.start)
        raise


def check(p: pb.SolverParameter) -> None:
    """Raise PrototxtError for settings that are missing or contradict each other."""
    if not p.HasField("lr_policy"):
        raise PrototxtError("the solver does not set lr_policy")
    for field, _, number in numbers(p, _SINGLE):
        may_be_infinite = field in _UNLIMITED
        if math.isnan(number) or (math.isinf(number) and not may_be_infinite):
            expected = "a number" if may_be_infinite else "a finite number"
            raise SolverFieldError(field, f"{field} must be {expected}, got {number:g}")
    check_policy(p)
    if not p.HasField("base_lr"):
        raise PrototxtError("the solver does not set base_lr")
    for field in ("iter_size", "average_loss"):
        if getattr(p, field) < 1:
            raise SolverFieldError(field, f"{field} must be at least 1, got {getattr(p, field)}")
    for field in _NOT_NEGATIVE:
        if getattr(p, field) < 0:
            raise SolverFieldError(field, f"{field} must not be negative, got {getattr(p, field):g}")
    if "\0" in p.snapshot_prefix:
        raise SolverFieldError("snapshot_prefix", "snapshot_prefix holds a NUL, which no path can")
    for value in p.test_iter:
        if value < 0:
            raise SolverFieldError("test_iter", f"test_iter must not be negative, got {value}")
    choices: dict[str, Collection[str]] = {
        "type": RULES,
        "eval_type": EVAL_TYPES,
        "ap_version": AP_VERSIONS,
        "regularization_type": REGULARIZERS,
    }
    if p.engine:
        choices["engine"] = ENGINES
    for field, allowed in choices.items():
        check_choice(field, getattr(p, field), allowed)
    train_choice(p)
    tests = len(test_choices(p))
    if len(p.test_state) not in (0, tests):
        raise SolverFieldError("test_state", f"{len(p.test_state)} test_state for {how_many(tests, 'test net')}")
    if tests and len(p.test_iter) not in (0, tests):
        raise SolverFieldError(
            "test_iter", f"test_iter is given {how_many(len(p.test_iter), 'time')} for {how_many(tests, 'test net')}"
        )
    if tests and p.test_interval and not p.test_iter:
        raise SolverFieldError("test_interval", "test_interval is set but test_iter is not")


def warnings(p: pb.SolverParameter) -> list[str]:
    """One line for each missing setting without which the solver probably does not do what is wanted."""
    found = []
    if not p.max_iter:
        found.append("max_iter is not set: nothing is trained" if not p.HasField("max_iter") else "max_iter is 0")
    found += useless_settings(p)
    if p.base_lr <= 0:
        effect = "nothing is learned" if p.base_lr == 0 else "the loss is made larger, not smaller"
        found.append(f"base_lr is {p.base_lr:g}: {effect}")
    if p.clip_gradients == 0:
        found.append("clip_gradients is 0: gradients become 0, so nothing is learned; leave it out not to clip")
    if not -1 < p.momentum < 1:
        found.append(f"momentum is {p.momentum:g}: steps grow without end; it is below 1")
    if p.test_iter and not p.test_interval:
        found.append("test_iter is set but test_interval is not: the net is never tested")
    return found


def train_choice(p: pb.SolverParameter) -> NetChoice:
    """The net to train. PrototxtError unless exactly one is given."""
    given = [f for f in ("net", "net_param", "train_net", "train_net_param") if p.HasField(f)]
    if len(given) != 1:
        got = ", ".join(given) or "none"
        raise PrototxtError(f"give exactly one of net, net_param, train_net, train_net_param; got {got}")
    return getattr(p, given[0]), TRAIN, p.train_state if p.HasField("train_state") else None


def test_choices(p: pb.SolverParameter) -> list[NetChoice]:
    """The nets to test in Caffe's order: test_net_param, test_net, the common net for each test_iter left over."""
    models: list[str | pb.NetParameter] = [*p.test_net_param, *p.test_net]
    if p.HasField("net") or p.HasField("net_param"):
        common = p.net if p.HasField("net") else p.net_param
        wanted = max(len(p.test_iter), 1 if p.test_interval else 0)
        models += [common] * (wanted - len(models))
    states = [p.test_state[i] if i < len(p.test_state) else None for i in range(len(models))]
    return [(model, TEST, state) for model, state in zip(models, states, strict=True)]


def find_model(path: str, solver: Definition[pb.SolverParameter]) -> Path:
    """The path of a net that a solver names, by the rule of dragon.files.paths, else its bare name beside the solver.

    Raises PrototxtError if there is no such file.
    """
    folder = solver.folder
    found = find(path, folder)
    if found is None and folder is not None and (folder / Path(path).name).is_file():
        return folder / Path(path).name
    if found is None:
        raise PrototxtError(f"{solver.file or 'the solver'}: its net {path} does not exist{missing_hint(path, folder)}")
    if found.is_dir():
        raise PrototxtError(
            f"{solver.file or 'the solver'}: its net {path} is a folder, expected the prototxt of a net"
        )
    return found
