"""Flags that select a net, shared by test, time and summarize."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import click

from dragon.engines import Options
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.assign import Assignment
from dragon.proto.definition import Definition
from dragon.share import ALONE, Share
from dragon.tools.common.models import TRAIN_VAL, ModelFile
from dragon.tools.common.profile import profile_option
from dragon.tools.common.python_layers import allow_python
from dragon.tools.common.set_option import read_changed_net, set_net_option
from dragon.tools.common.state_options import state_options

__all__ = ["NetChoice", "net_options"]


@dataclass
class NetChoice:
    """Values of the flags; `open` makes the net."""

    model: str
    level: int = 0
    stages: list[str] = field(default_factory=list)
    allow_unknown: bool = False
    profile: str | None = None
    assignments: tuple[Assignment, ...] = ()

    def open(
        self, phase: int, engine: str | None, options: Options, weights: str | None, seed: int = 1, share: Share = ALONE
    ) -> Net:
        """The net, in this phase. Raises DragonError."""
        return self.make(self.definition(), phase, engine, options, weights, seed, share)

    def definition(self) -> Definition[pb.NetParameter]:
        """The net as it is read, with the assignments of --set. Raises PrototxtError, UsageError."""
        return read_changed_net(self.model, self.assignments, self.allow_unknown, self.profile)

    def make(
        self, model: Definition[pb.NetParameter], phase: int, engine: str | None, options: Options,
        weights: str | None, seed: int = 1, share: Share = ALONE,
    ) -> Net:  # fmt: skip
        """A net of this definition with the other flags. Raises DragonError."""
        return Net(
            model,
            phase=phase,
            level=self.level,
            stages=self.stages,
            weights=weights,
            engine=engine,
            options=options,
            seed=seed,
            profile=self.profile,
            share=share,
        )


def net_options(
    required: bool = True, model: ModelFile = TRAIN_VAL, positional: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: add the flags and hand them to the command as `which`: a NetChoice, or None without --model.

    model: which file of a net of the zoo its name stands for. positional: the net may also stand without --model.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @click.option(
            "--model",
            type=model,
            required=required and not positional,
            metavar="FILE|NAME",
            help="The net's prototxt, or a net of the zoo.",
        )
        @state_options()
        @click.option("--allow-unknown", is_flag=True, help="Skip unknown fields, with a warning each.")
        @_argument(model, positional)
        @set_net_option
        @profile_option
        @allow_python
        @functools.wraps(function)
        def wrapper(
            *args: Any,
            model: str | None,
            net: str | None = None,
            level: int,
            stages: list[str],
            allow_unknown: bool,
            assignments: tuple[Assignment, ...],
            profile: str | None,
            **kwargs: Any,
        ) -> Any:
            if net is not None and model is not None:
                raise click.UsageError(f"the net is given twice, {net} and --model {model}")
            model = model or net
            if model is None and required:
                raise click.UsageError("Missing the net: its prototxt, or the name of one of the zoo.")
            which = None if model is None else NetChoice(model, level, stages, allow_unknown, profile, assignments)
            return function(*args, which=which, **kwargs)

        return wrapper

    return decorate


def _argument(model: ModelFile, there: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The net as an argument, where a command takes it so."""
    return (
        click.argument("net", type=model, required=False, metavar="[FILE|NAME]") if there else lambda function: function
    )
