"""`dragon draw`: draws a net."""

from __future__ import annotations

import click

from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import read_net
from dragon.pycaffe.draw import draw_net_to_file
from dragon.tools.common.profile import profile_option

__all__ = ["command"]


@click.command("draw")
@click.argument("net", type=click.Path(dir_okay=False))
@click.argument("out", type=click.Path(dir_okay=False))
@click.option(
    "--rankdir", type=click.Choice(["LR", "TB", "RL", "BT"], case_sensitive=False), default="TB", show_default=True,
    help="Where the layers run to: TB from top to bottom, LR from left to right.",
)  # fmt: skip
@click.option(
    "--phase", type=click.Choice(["TRAIN", "TEST", "ALL"], case_sensitive=False), default="ALL", show_default=True,
    help="Draw the layers of this phase only.",
)  # fmt: skip
@click.option("--display-lrm", is_flag=True, help="Show the multipliers of the learning rate.")
@profile_option
def command(net: str, out: str, rankdir: str, phase: str, display_lrm: bool, profile: str | None) -> None:
    """Draw the prototxt NET as OUT: .svg, .png, .pdf (graphviz makes them) or .dot.

    Deep nets are best drawn as .svg or .pdf: a .png is scaled to 12,000 pixels a side at most.

    \b
    Example: dragon draw models/lenet/train_val.prototxt lenet.svg --phase TRAIN
    """
    chosen = None if phase.upper() == "ALL" else int(pb.Phase.Value(phase.upper()))
    draw_net_to_file(read_net(net, profile=profile), out, rankdir.upper(), chosen, display_lrm)
    click.echo(out)
