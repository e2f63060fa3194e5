"""`dragon recalibrate`: exact statistics for batch normalisation, from one pass over the training set."""

from __future__ import annotations

import click

from dragon.data import open_source
from dragon.errors import UsageError
from dragon.layer import TRAIN
from dragon.net import Net
from dragon.surgery.recalibrate import recalibrate
from dragon.tools.engine_options import EngineChoice, engine_options
from dragon.tools.net_facts import batch_size, data_labels, needs_data
from dragon.tools.progress import progress_bar
from dragon.tools.tables import table

__all__ = ["command"]


@click.command("recalibrate")
@click.option("--model", required=True, metavar="FILE", help="The training prototxt; its TRAIN data is used.")
@click.option("--weights", required=True, metavar="FILE", help="The trained net.")
@click.option("--out", required=True, metavar="FILE", help="Write the weights with the new statistics here.")
@click.option("--batches", type=click.IntRange(1), help="How many batches; one pass over the data by default.")
@click.option("--allow-python", is_flag=True, help="Let the net run Python layers, which are programs.")
@engine_options
def command(model: str, weights: str, out: str, batches: int | None, allow_python: bool, choice: EngineChoice) -> None:
    """Replace the running averages of batch normalisation by the mean and variance over the training set.

    The batches' statistics are pooled exactly, so that the variance between them counts.

    \b
    Example: dragon recalibrate --model train_val.prototxt --weights
      net.caffemodel --out exact.caffemodel
    """
    engine, options = choice.resolve()
    net = Net(model, weights, TRAIN, engine=engine, options=options, seed=1, allow_python=allow_python)
    try:
        needs_data(net, model)
        count = batches or _one_pass(net, model)
        with progress_bar() as tell:
            changes = recalibrate(net, count, tell)
        net.save(out)
        rows = [
            (c.layer, c.channels, f"{c.mean_shift:.3g}", f"{c.variance_ratio[0]:.3g} to {c.variance_ratio[1]:.3g}")
            for c in changes
        ]
        click.echo(table(("layer", "channels", "mean moved by, in std", "new variance / old"), rows))
        size = batch_size(net)
        click.echo(f"{out}: statistics of {count} batches of {size}, {', '.join(data_labels(net)) or 'no database'}")
    finally:
        net.close()


def _one_pass(net: Net, model: str) -> int:
    """Batches that make one pass over the net's database. UsageError where the net has none."""
    for layer in net.layers:
        if layer.param.data_param.source:
            p = layer.param.data_param
            reader = open_source(layer.find(p.source, "data"), p.backend)
            try:
                return max(1, len(reader) // p.batch_size)
            finally:
                reader.close()
    raise UsageError(f"{model}: has no database in phase TRAIN: say how many --batches to take")
