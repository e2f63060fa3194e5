"""`dragon summarize`: shows the layers of a net with shapes, parameters, multiply-adds and memory."""

from __future__ import annotations

import click

from dragon.columns import terminal_width
from dragon.graph.summary import net_text
from dragon.proto import dragon_pb2 as pb
from dragon.tools.common.engine_options import EngineChoice
from dragon.tools.common.net_options import NetChoice, net_options

__all__ = ["command"]


@click.command("summarize")
@net_options()
@click.option("--phase", type=click.Choice(["TRAIN", "TEST"], case_sensitive=False), default="TEST", show_default=True)
def command(which: NetChoice, phase: str) -> None:
    """Show the layers of a net: shapes, learned numbers, multiply-adds of a forward pass, memory of the tops.

    \b
    Example: dragon summarize --model models/lenet/deploy.prototxt
    """
    _, options = EngineChoice().resolve()
    net = which.open(pb.Phase.Value(phase.upper()), "numpy", options, None)
    try:
        click.echo(net_text(net, terminal_width()))
    finally:
        net.close()
