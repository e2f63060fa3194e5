"""The target `--safetensors` of `dragon export`."""

from __future__ import annotations

import click

from dragon.counting import how_many
from dragon.errors import UsageError
from dragon.files.kinds import is_safetensors
from dragon.surgery.model import write_model
from dragon.tools.export.target import Source, Target

__all__ = ["TARGET"]


def _write(source: Source, path: str) -> None:
    if source.weights is None:
        raise UsageError("--safetensors needs --weights")
    if source.shape is not None:
        raise UsageError("--shape is of no use to --safetensors, which writes the weights alone")
    if not is_safetensors(path):
        raise UsageError(f"--safetensors {path}: the name ends in .safetensors")
    model = source.model(as_written=True)  # the same net reads the file
    write_model(model, None, path)
    count = sum(len(arrays) for arrays in model.arrays.values())
    click.echo(f"written: {path}, {how_many(count, 'blob')} of {how_many(len(model.arrays), 'layer')}")


TARGET = Target(
    click.Option(
        ["--safetensors"], metavar="FILE", help="Write the weights alone, as LAYER/INDEX, to OUT.safetensors."
    ),
    (),
    _write,
)
