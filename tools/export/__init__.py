"""`dragon export`: writes a net in the form of another program. One file of this package for each form."""

from __future__ import annotations

from typing import Any

import click

from dragon.tools.common.forms import check_options, chosen_form, form_options
from dragon.tools.common.models import DEPLOY, WeightsOption
from dragon.tools.common.net_options import NetChoice, net_options
from dragon.tools.common.numbers import input_shape
from dragon.tools.common.outputs import check_outputs
from dragon.tools.export import caffe, onnx, safetensors, torch
from dragon.tools.export.target import Source, Target

__all__ = ["command"]

TARGETS: tuple[Target, ...] = (onnx.TARGET, torch.TARGET, safetensors.TARGET, caffe.TARGET)


@click.command("export")
@net_options(model=DEPLOY)
@click.option(
    "--weights", cls=WeightsOption, metavar="FILE",
    help="The trained net; by default the zoo's, and for other nets the values that they start from.",
)  # fmt: skip
@click.option("--shape", metavar="N,C,H,W", help="Shape of the input, in place of that of the prototxt or the data.")
@form_options(TARGETS)
@click.pass_context
def command(ctx: click.Context, /, which: NetChoice, weights: str | None, shape: str | None, **given: Any) -> None:
    """Write a net, or its weights alone, for another program.

    Name one form of file to write. Losses, accuracies and data layers are left out, what a loss scored becomes an
    output, and an input takes the place of the data; a PyTorch module may keep its losses.

    \b
    Example:
    dragon export --model models/lenet/deploy.prototxt --weights lenet.caffemodel --onnx lenet.onnx
    dragon export --model models/lenet/deploy.prototxt --weights lenet.caffemodel --torch lenet.py
    dragon export --model models/lenet/deploy.prototxt --weights lenet.caffemodel --caffe out --for-deploy
    """
    target = chosen_form(TARGETS, given, "write", "written")
    check_options(ctx, TARGETS, target)
    name = str(target.flag.name)
    outputs = {target.flag.opts[0]: given[name]}
    check_outputs([which.model, *(weights or "").split(",")], outputs, in_new_folder=target is caffe.TARGET)
    options = {option.name: given[option.name] for option in target.options if option.name}
    target.write(Source(which, weights, input_shape(shape)), given[name], **options)
