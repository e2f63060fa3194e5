"""The target `--onnx` of `dragon export`."""

from __future__ import annotations

import click

from dragon.errors import UsageError
from dragon.tools.export.target import NO_FOLD_BN, Source, Target

__all__ = ["TARGET"]


def _write(source: Source, path: str, *, no_fold_bn: bool) -> None:
    deployed = source.deployed()
    with deployed.net(source.weights) if no_fold_bn else deployed.folded(source.weights):
        raise UsageError("--onnx is not there yet")


TARGET = Target(
    click.Option(["--onnx"], metavar="FILE", help="Write ONNX, for ONNX Runtime, OpenVINO and others."),
    (NO_FOLD_BN,),
    _write,
)
