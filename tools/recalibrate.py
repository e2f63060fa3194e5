"""`dragon recalibrate`: computes exact batch normalisation statistics in one pass over the training set."""

from __future__ import annotations

import click

from dragon.bases.layer import TRAIN
from dragon.data import open_source
from dragon.errors import UsageError
from dragon.graph.facts import batch_size, data_labels, require_data
from dragon.graph.net import Net
from dragon.surgery.recalibrate import VARIANCES, recalibrate
from dragon.tools.common.engine_options import EngineChoice, engine_options
from dragon.tools.common.numbers import Count
from dragon.tools.common.outputs import check_outputs
from dragon.tools.common.profile import profile_option
from dragon.tools.common.progress import progress_bar
from dragon.tools.common.python_layers import allow_python
from dragon.tools.common.tables import table

__all__ = ["command"]

_MEANING = {"pooled": "pooled over all values", "batches": "the mean of the batches' variances"}


@click.command("recalibrate")
@click.option("--model", required=True, metavar="FILE", help="The training prototxt; its TRAIN data is used.")
@click.option("--weights", required=True, metavar="FILE", help="The trained net.")
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
    "--variance", type=click.Choice(VARIANCES), default="pooled", show_default=True,
    help="Of all values together, or the mean of the batches' variances as in Ioffe & Szegedy 2015.",
)  # fmt: skip
@profile_option
@allow_python
@engine_options
def command(
    model: str,
    weights: str,
    out: str,
    batches: int | None,
    variance: str,
    profile: str | None,
    choice: EngineChoice,
) -> None:
    """Replace the running averages of batch normalisation by the mean and variance over the training set.

    The variance is that of all values, which includes the differences between the batches' means, or, with --variance
    batches, the mean of the batches' own variances. One pass serves all layers: each sees what training gave it, values
    that the layers below have normalised by their batch. Images that do not fill a last batch are left out, and
    counted.

    \b
    Example:
    dragon recalibrate --model models/cifar10_quick_bn_merged/train_val.prototxt \\
      --weights runs/cifar10_quick_bn_merged/cifar10_quick_bn_merged_iter_5000.caffemodel \\
      --out-weights exact.caffemodel
    """
    check_outputs([model, *weights.split(",")], {"--out-weights": out})
    engine, options = choice.resolve()
    net = Net(model, weights, TRAIN, engine=engine, options=options, seed=1, profile=profile)
    try:
        require_data(net, model)
        total, size = _records(net), batch_size(net)
        if batches is None and not total:
            raise UsageError(f"{model}: has no database in phase TRAIN: say how many --batches to take")
        count = batches or max(1, total // size)
        with progress_bar() as progress:
            changes = recalibrate(net, count, progress, variance)
        net.save(out)
        rows = [
            (c.layer, c.channels, f"{c.mean_shift:.3g}", f"{c.variance_ratio[0]:.3g} to {c.variance_ratio[1]:.3g}")
            for c in changes
        ]
        click.echo(table(("layer", "channels", "mean moved by, in std", "new variance / old"), rows))
        used = f"{count} batches of {size}" + (f", {min(count * size, total):,} of {total:,} images" if total else "")
        label = ", ".join(data_labels(net)) or "no database"
        click.echo(f"{out}: statistics of {used}, {label}; variance {_MEANING[variance]}")
    finally:
        net.close()


def _records(net: Net) -> int:
    """Number of records in the first database of the net; 0 without one."""
    for layer in net.layers:
        if layer.param.data_param.source:
            p = layer.param.data_param
            reader = open_source(layer.find(p.source, "data"), p.backend)
            try:
                return len(reader)
            finally:
                reader.close()
    return 0
