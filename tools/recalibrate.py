"""`dragon recalibrate`: computes exact batch normalisation statistics in one pass over the training set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import click

from dragon.bases.layer import TEST, TRAIN
from dragon.counting import how_many
from dragon.errors import DataError, UsageError
from dragon.files.paths import split_paths
from dragon.files.shared_blobs import with_shared_blobs
from dragon.files.stored_weights import stored_layers, write_arrays
from dragon.graph.facts import accuracy_names, data_labels, record_count, require_data
from dragon.graph.net import Net
from dragon.graph.outputs import batch_size
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.proto.assign import Assignment
from dragon.proto.definition import Definition
from dragon.surgery.model import arrays_of
from dragon.surgery.recalibrate import VARIANCES, recalibrate
from dragon.tools.common.accuracies import AccuracyInterval, accuracy_intervals
from dragon.tools.common.engine_options import EngineChoice, engine_options
from dragon.tools.common.json_output import json_option
from dragon.tools.common.models import TRAIN_VAL, model_and_weights
from dragon.tools.common.numbers import Count
from dragon.tools.common.outputs import check_outputs
from dragon.tools.common.profile import profile_option
from dragon.tools.common.progress import progress_bar
from dragon.tools.common.python_layers import allow_python
from dragon.tools.common.set_option import read_changed_net, set_net_option
from dragon.tools.common.state_options import state_options
from dragon.tools.common.tables import table
from dragon.tools.test import score

__all__ = ["command"]

_MEANING = {"pooled": "pooled over all values", "batches": "the mean of the batches' variances"}


@click.command("recalibrate")
@model_and_weights(TRAIN_VAL, "The training prototxt; its TRAIN data is used.")
@click.option(
    "--out-weights",
    "--out",
    "out",
    required=True,
    metavar="FILE",
    help="Write the new .caffemodel, HDF5 or .safetensors file here.",
)
@click.option("--batches", type=Count(1), help="How many batches; all whole ones of the data by default.")
@click.option(
    "--test-batches", type=Count(0), default=50, show_default=True,
    help="Batches of the test data to score before and after; 0 for none.",
)  # fmt: skip
@click.option(
    "--variance", type=click.Choice(VARIANCES), default="pooled", show_default=True,
    help="Of all values together, or the mean of the batches' variances as in Ioffe & Szegedy 2015.",
)  # fmt: skip
@state_options()
@set_net_option
@profile_option
@allow_python
@engine_options
@json_option
def command(
    model: str,
    weights: str,
    out: str,
    batches: int | None,
    test_batches: int,
    variance: str,
    level: int,
    stages: list[str],
    assignments: tuple[Assignment, ...],
    profile: str | None,
    choice: EngineChoice,
) -> dict[str, Any]:
    """Replace the running averages of batch normalisation by the mean and variance over the training set.

    The variance is that of all values, which includes the differences between the batches' means, or, with --variance
    batches, the mean of the batches' own variances. One pass serves all layers: each sees what training gave it, values
    that the layers below have normalised by their batch. Images that do not fill a last batch are left out, and
    counted. Where the prototxt has test data and an Accuracy, the accuracy before and after is shown.

    \b
    Example:
    dragon recalibrate --model models/cifar10_quick_bn_merged/train_val.prototxt \\
      --weights runs/cifar10_quick_bn_merged/cifar10_quick_bn_merged_iter_5000.caffemodel \\
      --out-weights exact.caffemodel
    """
    check_outputs([model, *weights.split(",")], {"--out-weights": out})
    engine, options = choice.resolve()
    definition = read_changed_net(model, assignments, profile=profile)
    make = partial(Net, definition, level=level, stages=stages, engine=engine, options=options, seed=1)
    before = _accuracies(make, weights, test_batches)
    net = make(phase=TRAIN, weights=weights)
    try:
        require_data(net, model)
        total, size = record_count(net), batch_size(net)
        if batches is None and not total:
            raise UsageError(f"{model}: has no database in phase TRAIN: say how many --batches to take")
        count = batches or max(1, total // size)
        with progress_bar() as progress:
            changes = recalibrate(net, count, progress, variance)
        _write(net, definition, weights, profile, out)
        rows = [
            (c.layer, c.channels, f"{c.mean_shift:.3g}", f"{c.variance_ratio[0]:.3g} to {c.variance_ratio[1]:.3g}")
            for c in changes
        ]
        click.echo(table(("layer", "channels", "mean moved by, in std", "new variance / old"), rows))
        used = f"{how_many(count, 'batch')} of {size}" + (
            f", {min(count * size, total):,} of {how_many(total, 'image')}" if total else ""
        )
        label = ", ".join(data_labels(net)) or "no database"
        after = _accuracies(make, out, test_batches) if before else []
        for old, new in zip(before, after, strict=True):
            click.echo(f"before  {old.text}")
            click.echo(f"after   {new.text}")
        click.echo(f"{out}: statistics of {used}, {label}; variance {_MEANING[variance]}")
        return {
            "out": out, "batches": count, "batch_size": size, "records": total or None, "variance": variance,
            "layers": changes, "accuracies": {"before": before, "after": after},
        }  # fmt: skip
    finally:
        net.close()


def _write(net: Net, definition: Definition[pb.NetParameter], weights: str, profile: str | None, out: str) -> None:
    """Write the net's weights, and with them those of the layers that the definition has in TEST alone."""
    elsewhere = {layer.name: layer for layer in definition.message.layer if layer.name not in net.layer_dict}
    stored: dict[str, Sequence[Array | None]] = {**arrays_of(net)}
    for path in split_paths(weights) if elsewhere else ():
        found = stored_layers(path, profile, skip=lambda name: name not in elsewhere)
        stored |= {name: arrays for name, arrays in found if name in elsewhere}
    kept = {}
    for name, arrays in with_shared_blobs(definition.message.layer, stored).items():
        whole = [array for array in arrays if array is not None]
        if name in elsewhere and whole and len(whole) == len(arrays):
            kept[name] = whole
    if not kept:
        net.save(out)
        return
    param = pb.NetParameter()
    param.CopyFrom(net.param)
    param.layer.extend(elsewhere[name] for name in kept)
    write_arrays(out, param, {**arrays_of(net), **kept})


def _accuracies(make: Callable[..., Net], weights: str, batches: int) -> list[AccuracyInterval]:
    """The accuracies of the net in TEST; none where it has no test data, or no Accuracy that reads them."""
    if not batches:
        return []
    try:
        net = make(phase=TEST, weights=weights)
    except DataError as error:
        click.echo(f"dragon: the accuracy is not measured: {error}", err=True)
        return []
    try:
        if net.inputs or not accuracy_names(net):
            return []
        (mean,) = score([net], batches)
        return accuracy_intervals(net, mean, batches)
    finally:
        net.close()
