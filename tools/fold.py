"""`dragon fold`: folds batch normalisation into the layers before it, for deployment."""

from __future__ import annotations

from typing import Any

import click

from dragon.bases.layer import TEST
from dragon.errors import UsageError
from dragon.surgery.fold import fold
from dragon.tools.common.surgery import SurgeryChoice, surgery_options

__all__ = ["command"]


@click.command("fold")
@surgery_options(needs_weights=True)
def command(files: SurgeryChoice) -> dict[str, Any]:
    """Fold every batch normalisation, with its running statistics, into the convolution or inner product before it.

    The result computes what the net computes in TEST, which is proved by running both, and cannot be trained on.

    \b
    Example:
    dragon fold --model models/cifar10_quick_bn_merged/deploy.prototxt \\
      --weights runs/cifar10_quick_bn_merged/cifar10_quick_bn_merged_iter_5000.caffemodel \\
      --out-model folded.prototxt --out-weights folded.caffemodel
    """
    old = files.read()
    new, done, left = fold(old)
    for name, target in done:
        click.echo(f"folded {name} into {target}")
    for name, why in left:
        click.echo(f"left {name}: {why}")
    if not done:
        raise UsageError(f"{files.model}: no batch normalisation could be folded")
    return {
        "folded": [{"layer": name, "into": target} for name, target in done],
        "left": [{"layer": name, "why": why} for name, why in left],
        **files.finish(old, new, (TEST,)),
    }
