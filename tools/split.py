"""`dragon split`: replaces BN by BatchNorm + Scale."""

from __future__ import annotations

from typing import Any

import click

from dragon.bases.layer import TEST, TRAIN
from dragon.export.caffe.known import beyond_bvlc
from dragon.surgery.merge import split
from dragon.tools.common.surgery import SurgeryChoice, surgery_options

__all__ = ["command"]


@click.command("split")
@surgery_options(needs_weights=False)
@click.option(
    "--caffe", is_flag=True, help="Of these layers write only what BVLC Caffe reads; its own rule averages in training."
)
def command(files: SurgeryChoice, caffe: bool) -> dict[str, Any]:
    """Turn every BN into a BatchNorm and a Scale, in the net and its weights; both nets are run to prove it.

    \b
    Example:
    dragon split --caffe --model models/cifar10_quick_bn_merged/train_val.prototxt \\
      --weights runs/cifar10_quick_bn_merged/cifar10_quick_bn_merged_iter_5000.caffemodel \\
      --out-model split.prototxt --out-weights split.caffemodel
    """
    old = files.read()
    new, names = split(old, caffe)
    click.echo(f"split {len(names)}: {', '.join(names)}")
    foreign = [f'"{one.name}" ({one.type})' for one in new.net.layer if caffe and beyond_bvlc(one)]
    if foreign:
        click.echo(f"Caffe does not read all of {', '.join(foreign)}: dragon export --caffe replaces what it can")
    return {"split": names, **files.finish(old, new, (TEST,) if caffe else (TEST, TRAIN))}
