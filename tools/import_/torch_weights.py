"""The source `--torch-weights` of `dragon import`."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import click
import numpy as np

from dragon.counting import how_many
from dragon.errors import UsageError
from dragon.proto.assign import Assignment
from dragon.tools.common.models import DEPLOY
from dragon.tools.common.numbers import input_shape
from dragon.tools.common.outputs import check_outputs
from dragon.tools.common.set_option import NET, read_changed_net, set_flag
from dragon.tools.import_.source import OUT_WEIGHTS, Source

__all__ = ["SOURCE"]

log = logging.getLogger("dragon")

MODEL = click.Option(
    ["--model"], type=DEPLOY, metavar="FILE|NAME", help="The prototxt of the net whose weights they become."
)
SHAPE = click.Option(["--shape"], metavar="N,C,H,W", help="Shape of the net's input, in place of that of its data.")
MAP = click.Option(
    ["--map", "pairs"],
    metavar="LAYER=PREFIX",
    multiple=True,
    help="The tensors of a layer are PREFIX.weight and so on; may be repeated.",
)

SET = set_flag(NET)


def _read(
    path: str,
    *,
    model: str | None,
    shape: str | None,
    pairs: tuple[str, ...],
    assignments: tuple[Assignment, ...],
    out_weights: str | None,
) -> None:
    from dragon.export.deployed import read_deployed
    from dragon.export.torch.bring_back import bring_back
    from dragon.surgery.model import write_model

    if model is None or out_weights is None:
        raise UsageError(f"--torch-weights needs {'--model' if model is None else '--caffemodel'}")
    check_outputs([path, model], {"--caffemodel": out_weights})
    deployed = read_deployed(read_changed_net(model, assignments), shape=input_shape(shape))
    found, matched = bring_back(deployed, path, _names(pairs))
    for layer, prefix in matched.pairs:
        click.echo(f"{layer}: {prefix}")
    if matched.unused:
        click.echo(f"not used: {', '.join(matched.unused)}")
    for layer, arrays in found.arrays.items():
        bad = sum(int(array.size - np.isfinite(array).sum()) for array in arrays)
        if bad:
            log.warning('layer "%s": not finite: %s', layer, how_many(bad, "value"))
    write_model(found, None, out_weights)
    click.echo(f"written: {out_weights}, {how_many(len(matched.blobs), 'layer')} found by {matched.by}")


def _names(pairs: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        layer, equals, prefix = pair.partition("=")
        if not (layer and equals and prefix):
            raise UsageError(f'--map takes LAYER=PREFIX, got "{pair}"')
        if layer in found:
            raise UsageError(f'--map names layer "{layer}" twice')
        found[layer] = prefix
    return found


SOURCE = Source(
    click.Option(["--torch-weights"], metavar="FILE", help="Read a state_dict: .safetensors, or a file of torch.save."),
    (MODEL, SHAPE, MAP, SET, OUT_WEIGHTS),
    _read,
)
