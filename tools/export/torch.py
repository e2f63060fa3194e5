"""The target `--torch` of `dragon export`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click

from dragon.bases.layer import TRAIN
from dragon.counting import how_many
from dragon.export.torch.write import values_path, write_module
from dragon.export.whole import read_whole
from dragon.graph.net import Net
from dragon.tools.common.outputs import check_outputs
from dragon.tools.export.target import Source, Target

__all__ = ["TARGET"]

WITH_LOSSES = click.Option(
    ["--with-losses"], is_flag=True, help="Write the net of TRAIN with its losses, which are left out otherwise."
)


def _write(source: Source, path: str, *, with_losses: bool) -> None:
    which = source.which
    check_outputs([which.model, source.weights], {"--torch": path, "its values": str(values_path(path))})
    with ExitStack() as stack:
        if with_losses:
            definition = read_whole(which.definition(), level=which.level, stages=which.stages, shape=source.shape)
            net = stack.enter_context(Net(definition, phase=TRAIN, weights=source.weights, engine="numpy", seed=1))
        else:
            deployed = source.deployed()
            for note in deployed.notes:
                click.echo(note)
            net = stack.enter_context(deployed.net(source.weights))
        written = write_module(net, path, Path(which.model).name)
    if source.weights is None:
        click.echo("no --weights: the values are those that the net starts from")
    found = written.exported
    click.echo(
        f"written: {path}, a module with the inputs {_listed(found.inputs)} and outputs {_listed(found.outputs)}"
    )
    click.echo(f"written: {written.values}, {how_many(len(found.state()), 'tensor')}")


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


TARGET = Target(
    click.Option(
        ["--torch"], metavar="FILE", help="Write a torch.nn.Module, OUT.py, with its values in OUT.safetensors."
    ),
    (WITH_LOSSES,),
    _write,
)
