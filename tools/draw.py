"""`dragon draw`: draws a net."""

from __future__ import annotations

from pathlib import Path

import click

from dragon.drawing import LayerFacts, Picture, diagram, facts_of, page, svg
from dragon.errors import UsageError
from dragon.files.atomic import write_atomically
from dragon.files.pictures import picture_format
from dragon.graph.definition import filter_net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.assign import Assignment
from dragon.proto.upgrade import upgrade_net
from dragon.pycaffe.draw import draw_net_to_file
from dragon.tools.common.models import TRAIN_VAL
from dragon.tools.common.numbers import named_shapes
from dragon.tools.common.outputs import OutputFile, refuse_input
from dragon.tools.common.profile import profile_option
from dragon.tools.common.python_layers import allow_python
from dragon.tools.common.set_option import read_changed_net, set_net_option

__all__ = ["command"]

_OWN = ("html", "svg")
_BY_GRAPHVIZ = ("png", "pdf", "dot")
_PHASES = {"TRAIN": [pb.TRAIN], "TEST": [pb.TEST], "ALL": [pb.TRAIN, pb.TEST]}


@click.command("draw")
@click.argument("net", type=TRAIN_VAL)
@click.argument("out", type=OutputFile())
@click.option(
    "--rankdir", type=click.Choice(["LR", "TB", "RL", "BT"], case_sensitive=False), default="TB", show_default=True,
    help="Where the layers run to: TB from top to bottom, LR from left to right.",
)  # fmt: skip
@click.option(
    "--phase", type=click.Choice(list(_PHASES), case_sensitive=False), default="ALL", show_default=True,
    help="Draw the layers of this phase only.",
)  # fmt: skip
@click.option("--display-lrm", is_flag=True, help="Show the multipliers of the learning rate.")
@click.option("--every-layer", is_flag=True, help="A box for each layer, in .html and .svg.")
@click.option(
    "--input-shape", multiple=True, metavar="[NAME:]N,C,H,W",
    help="Shape of a blob that a data layer gives, in .html and .svg; once for each.",
)  # fmt: skip
@set_net_option
@profile_option
@allow_python
def command(
    net: str, out: str, rankdir: str, phase: str, display_lrm: bool, every_layer: bool, input_shape: tuple[str, ...],
    assignments: tuple[Assignment, ...], profile: str | None,
) -> None:  # fmt: skip
    """Draw the prototxt NET as OUT: .html or .svg; .png, .pdf (graphviz makes them) or .dot.

    A convolution with the normalisation, Scale and activation behind it is one box, with its shape and parameters. The
    page (.html) opens it by a click, zooms and searches, and needs no network; page.html#LAYER shows a layer.

    \b
    Example: dragon draw models/lenet/train_val.prototxt lenet.html
    Example: dragon draw models/resnet50/deploy.prototxt resnet50.svg --input-shape 1,3,448,448
    """
    kind = picture_format(out, (*_OWN, *_BY_GRAPHVIZ), ("htm", "jpg", "jpeg", "gif", "gv", "ps", "eps"))
    shapes = named_shapes(input_shape)
    definition = read_changed_net(net, assignments, profile=profile).message
    chosen = _PHASES[phase.upper()]
    refuse_input(out)
    if kind in (*_OWN, "htm"):
        picture, remark = _picture(definition, Path(net), rankdir, chosen, display_lrm, not every_layer, shapes)
        _write(out, svg(picture) if kind == "svg" else page(picture, remark))
        if remark:
            others = "" if "--allow-python" in remark else "; --input-shape gives others"
            click.echo(f"{net}: {remark}{others}", err=True)
    elif every_layer or shapes:
        raise UsageError(f"--{'every-layer' if every_layer else 'input-shape'} is for .html and .svg, not .{kind}")
    else:
        draw_net_to_file(definition, out, rankdir.upper(), chosen[0] if len(chosen) == 1 else None, display_lrm)
    click.echo(out)


def _picture(
    definition: pb.NetParameter, path: Path, direction: str, phases: list[pb.Phase], rates: bool, grouped: bool,
    shapes: dict[str, tuple[int, ...]],
) -> tuple[Picture, str]:  # fmt: skip
    """The picture of the layers in these phases, and what was assumed about shapes."""
    net = upgrade_net(definition)
    facts: dict[int, dict[str, LayerFacts]] = {}
    remarks: dict[str, None] = {}
    for phase in phases:
        facts[phase], remark = facts_of(net, phase, shapes, path.absolute().parent)
        remarks[remark] = None
    if len(phases) == 1:
        state = pb.NetState()
        state.CopyFrom(net.state)
        state.MergeFrom(pb.NetState(phase=phases[0]))
        net = filter_net(net, state)
    return Picture(diagram(net, facts, grouped, rates), direction.upper()), "; ".join(filter(None, remarks))


def _write(path: str, text: str) -> None:
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
