"""`dragon merge`: replaces BatchNorm + Scale by BN."""

from __future__ import annotations

from typing import Any

import click

from dragon.bases.layer import TEST, TRAIN
from dragon.surgery.merge import merge
from dragon.tools.common.surgery import SurgeryChoice, surgery_options

__all__ = ["command"]


@click.command("merge")
@surgery_options(needs_weights=False)
def command(files: SurgeryChoice) -> dict[str, Any]:
    """Turn every BatchNorm with its Scale into one BN, in the net and its weights; both nets are run to prove it.

    \b
    Example:
    dragon merge --model models/cifar10_quick_bn_split/train_val.prototxt \\
      --weights runs/cifar10_quick_bn_split/cifar10_quick_bn_split_iter_5000.caffemodel \\
      --out-model merged.prototxt --out-weights merged.caffemodel
    """
    old = files.read()
    new, names = merge(old)
    click.echo(f"merged {len(names)}: {', '.join(names)}")
    return {"merged": names, **files.finish(old, new, (TEST, TRAIN))}
