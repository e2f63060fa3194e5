"""`dragon summarize`: shows the layers of a net with shapes, parameters, multiply-adds and memory."""

from __future__ import annotations

from typing import Any

import click

from dragon.columns import terminal_width
from dragon.errors import DataError
from dragon.graph.definition import run_state
from dragon.graph.facts import data_labels, layer_facts
from dragon.graph.net import Net
from dragon.graph.summary import net_table, net_text
from dragon.proto import dragon_pb2 as pb
from dragon.surgery.without_data import without_data
from dragon.tools.common.engine_options import EngineChoice
from dragon.tools.common.json_output import json_option
from dragon.tools.common.models import DEPLOY
from dragon.tools.common.net_options import NetChoice, net_options
from dragon.tools.common.numbers import input_shape

__all__ = ["command"]


@click.command("summarize")
@net_options(model=DEPLOY, positional=True)
@click.option("--phase", type=click.Choice(["TRAIN", "TEST"], case_sensitive=False), default="TEST", show_default=True)
@click.option("--input-shape", "image_shape", metavar="[N,]C,H,W", help="In place of that of the data or the input.")
@json_option
def command(which: NetChoice, phase: str, image_shape: str | None) -> dict[str, Any]:
    """Show the layers of a net: windows, shapes, learned numbers, multiply-adds of a forward pass, memory of the tops.

    Data that is not there is not needed: the shape of images is taken from the crop, the size they are resized to, or
    the mean image, and what is assumed is said.

    \b
    Example: dragon summarize models/lenet/deploy.prototxt
    """
    net, notes = _open(which, pb.Phase.Value(phase.upper()), input_shape(image_shape, "--input-shape"))
    try:
        click.echo(net_text(net, terminal_width()))
        for note in notes:
            click.echo(note)
        return _document(net, notes)
    finally:
        net.close()


def _open(which: NetChoice, phase: int, shape: tuple[int, ...] | None) -> tuple[Net, list[str]]:
    """The net, and what was assumed where its data is not there or the shape is given."""
    _, options = EngineChoice().resolve()
    unread: DataError | None = None
    definition = which.definition()  # read once, as are its warnings
    if shape is None:
        try:
            return which.make(definition, phase, "numpy", options, None), []
        except DataError as error:
            unread = error
    state = run_state(definition.message.state, phase, which.level, which.stages)
    try:
        assumed, notes = without_data(definition, state, shape)
    except DataError as error:
        if unread is None or error.layer != unread.layer:
            raise
        unread.hint = "nothing else says the shape of its images: give --input-shape C,H,W"
        raise unread from None
    reasons = [] if unread is None else [f"the data cannot be read: {unread}"]
    return which.make(assumed, phase, "numpy", options, None), [*reasons, *notes]


def _document(net: Net, notes: list[str]) -> dict[str, Any]:
    table = net_table(net)
    return {
        "net": net.name, "phase": pb.Phase.Name(net.phase), "batch_size": table.batch, "data": data_labels(net),
        "layers": [
            {
                **layer_facts(node), "learned": row.learned, "statistics": row.statistics,
                "multiply_adds": row.multiply_adds, "top_bytes": row.memory, "added": row.added,
            }
            for node, row in zip(net.nodes, table.rows, strict=True)
        ],
        "parameters": table.parameters, "parameter_bytes": table.parameter_bytes,
        "statistics_bytes": table.statistics_bytes, "multiply_adds": table.multiply_adds, "top_bytes": table.memory,
        "assumed": notes,
    }  # fmt: skip
