"""`dragon export`: writes a net in the form of another program. One file of this package for each form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click
from click.core import ParameterSource

from dragon.errors import UsageError
from dragon.tools.common.net_options import NetChoice, net_options
from dragon.tools.common.outputs import check_outputs
from dragon.tools.export import onnx, safetensors, torch
from dragon.tools.export.target import Source, Target

__all__ = ["command"]

TARGETS: tuple[Target, ...] = (onnx.TARGET, torch.TARGET, safetensors.TARGET)


def _target_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: add the options of all targets, each once."""
    added: list[click.Option] = []
    for target in TARGETS:
        added += [option for option in (target.out, *target.options) if option not in added]
    # click keeps the options of a function that is no command yet in this list, the last one first
    function.__click_params__ = [*getattr(function, "__click_params__", []), *reversed(added)]  # type: ignore[attr-defined]
    return function


@click.command("export")
@net_options()
@click.option("--weights", metavar="FILE", help="The trained net; without it the weights are those of the fillers.")
@click.option("--shape", metavar="N,C,H,W", help="Shape of the input, in place of that of the prototxt or the data.")
@_target_options
@click.pass_context
def command(ctx: click.Context, /, which: NetChoice, weights: str | None, shape: str | None, **given: Any) -> None:
    """Write a net, or its weights alone, for another program.

    Name one form of file to write. Losses, accuracies and data layers are left out, what a loss scored becomes an
    output, and an input takes the place of the data; a PyTorch module may keep its losses.

    \b
    Example:
    dragon export --model models/lenet/deploy.prototxt --weights lenet.caffemodel --onnx lenet.onnx
    dragon export --model models/lenet/deploy.prototxt --weights lenet.caffemodel --torch lenet.py
    """
    target = _chosen(given)
    _check_options(ctx, target)
    name = str(target.out.name)
    check_outputs([which.model, *(weights or "").split(",")], {target.out.opts[0]: given[name]})
    options = {option.name: given[option.name] for option in target.options if option.name}
    target.write(Source(which, weights, _shape(shape)), given[name], **options)


def _chosen(given: dict[str, Any]) -> Target:
    chosen = [target for target in TARGETS if given[str(target.out.name)] is not None]
    flags = _either([target.out.opts[0] for target in TARGETS])
    if not chosen:
        raise UsageError(f"say what to write: {flags}")
    if len(chosen) > 1:
        raise UsageError(f"one file is written at a time, got {' and '.join(target.out.opts[0] for target in chosen)}")
    return chosen[0]


def _check_options(ctx: click.Context, target: Target) -> None:
    """Raise UsageError for an option that was given but is not one of the target's."""
    for option in dict.fromkeys(option for other in TARGETS for option in other.options):
        given = ctx.get_parameter_source(str(option.name)) not in (None, ParameterSource.DEFAULT)
        if given and option not in target.options:
            owners = [other.out.opts[0] for other in TARGETS if option in other.options]
            raise UsageError(f"{option.opts[0]} is for {_either(owners)}, not for {target.out.opts[0]}")


def _either(flags: Sequence[str]) -> str:
    return " or ".join([", ".join(flags[:-1]), flags[-1]] if len(flags) > 1 else flags)


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        shape = tuple(int(v) for v in text.split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise UsageError(f'--shape takes numbers like 1,3,32,32, got "{text}"')
    return shape
