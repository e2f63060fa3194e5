"""`dragon bn remove`: takes batch normalisation out of a net."""

from __future__ import annotations

from typing import Any

import click

from dragon.bases.layer import TEST
from dragon.surgery.remove import remove
from dragon.tools.common.surgery import SurgeryChoice, surgery_options

__all__ = ["command"]


@click.command("remove")
@surgery_options(needs_weights=False)
@click.option("--layers", metavar="LAYERS", help="Which ones: names, patterns or types, also GroupNorm and others; all "
              "batch normalisations by default.")  # fmt: skip
@click.option("--no-bias", is_flag=True, help="Do not give the layers before them a bias.")
def command(files: SurgeryChoice, layers: str | None, no_bias: bool) -> dict[str, Any]:
    """Take batch normalisation, with its Scale, out of a net.

    With --weights it is folded into the layers before it, as by `dragon fold`, so that TEST stays the same. Without,
    it goes, layers that had lost their bias get one again, and the new net is run once.

    \b
    Example:
    dragon bn remove --model models/cifar10_quick_bn_merged/train_val.prototxt --out-model plain.prototxt
    """
    old = files.read()
    new = remove(old, layers, not no_bias, note=click.echo)
    return files.finish(old, new, (TEST,), runs=True)
