"""`dragon import`: brings nets or weights of other programs in. One file of this package for each form."""

from __future__ import annotations

from typing import Any

import click

from dragon.tools.common.forms import check_options, chosen_form, form_options
from dragon.tools.import_ import onnx, torch_weights
from dragon.tools.import_.source import Source

__all__ = ["command"]

SOURCES: tuple[Source, ...] = (onnx.SOURCE, torch_weights.SOURCE)


@click.command("import")
@form_options(SOURCES)
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> None:
    """Make a net or weights of a file of another program.

    Name one file to read. An ONNX model becomes a prototxt and a .caffemodel; net and model compute the same, which is
    checked by running them, or nothing is written. Operators that no layer computes are named, all at once.

    The weights of a PyTorch module become those of a net that exists: by the names of `dragon export --torch`, or by
    order and shape.

    \b
    Example:
    dragon import --onnx resnet18.onnx --output resnet18
    dragon import --torch-weights resnet18.pth --model resnet18.prototxt --caffemodel resnet18.caffemodel
    """
    source = chosen_form(SOURCES, given, "read", "read")
    check_options(ctx, SOURCES, source)
    options = {option.name: given[option.name] for option in source.options if option.name}
    source.read(given[str(source.flag.name)], **options)
