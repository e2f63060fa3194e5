"""`dragon calibrate`: measures the ranges of what the layers of a net read, for inference in int8."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from dragon.bases.layer import TEST
from dragon.compare.nets import testing_on_training_set
from dragon.counting import how_many
from dragon.engines import ENGINES, Options
from dragon.engines.int8.table import METHODS
from dragon.errors import UsageError
from dragon.graph.facts import data_labels, require_data, summary
from dragon.graph.outputs import batch_size
from dragon.surgery.calibrate import PERCENTILE, calibrate
from dragon.tools.common.json_output import json_option
from dragon.tools.common.models import WeightsOption
from dragon.tools.common.net_options import NetChoice, net_options
from dragon.tools.common.numbers import Count, Real
from dragon.tools.common.outputs import check_outputs
from dragon.tools.common.progress import progress_bar
from dragon.tools.common.tables import table

__all__ = ["command"]


@click.command("calibrate")
@net_options()
@click.option(
    "--weights", cls=WeightsOption, required=True, metavar="FILE,...", help=".caffemodel, HDF5 or .safetensors files."
)
@click.option("--iterations", type=Count(1), default=10, show_default=True, help="Batches to run.")
@click.option("--output", default="calibration.yaml", show_default=True, metavar="FILE", help="Write the ranges here.")
@click.option(
    "--method", type=click.Choice(METHODS), default=METHODS[0], show_default=True,
    help="The range: the largest magnitude, or one that only few values exceed, which are then cut off.",
)  # fmt: skip
@click.option(
    "--percentile", type=Real(), show_default=f"{PERCENTILE}",
    help="Of --method percentile: the share of values, in percent, that the range has.",
)  # fmt: skip
@click.option(
    "--float32", multiple=True, metavar="LAYER", help="A layer that stays in float32; several times for more."
)
@click.option("--training-data", is_flag=True, help="Read the training data, transformed as in a test.")
@click.option("--engine", type=click.Choice([name for name in ENGINES if name != "cuda"]), help="How the net is run.")
@click.option("--threads", type=Count(1), help="At most this many; all cores by default.")
@json_option
def command(
    which: NetChoice,
    weights: str,
    iterations: int,
    output: str,
    method: str,
    percentile: float | None,
    float32: tuple[str, ...],
    training_data: bool,
    engine: str | None,
    threads: int | None,
) -> dict[str, Any]:
    """Run a net in phase TEST, in float32, and write the range of what each convolution and inner product reads.

    The file is for --precision int8 --calibration FILE of test, time, classify and other commands. Weights need no
    calibration: their ranges are known.

    \b
    Example:
    dragon calibrate --model lenet --training-data --output lenet.int8.yaml
    dragon test --model lenet --precision int8 --calibration lenet.int8.yaml
    """
    check_outputs([which.model, *weights.split(",")], {"--output": output})
    definition = which.definition()
    if training_data:
        training = testing_on_training_set(definition.message)
        if training == definition.message:
            raise UsageError(f"{which.model}: has no Data layer of phase TRAIN, which --training-data would read")
        definition = replace(definition, message=training)
    net = which.make(definition, TEST, engine, Options(threads=threads), weights)
    try:
        require_data(net, which.model)
        click.echo(summary(net))
        with progress_bar() as progress:
            found = calibrate(net, iterations, method, percentile, float32, progress)
        found.save(output)
        rows = [
            [name, "float32", ""] if of is None else [name, f"{of.limit:.4g}", "s8" if of.signed else "u8"]
            for name, of in found.layers.items()
        ]
        click.echo(table(["layer", "range of its input", "type"], rows))
        used = f"{how_many(iterations, 'batch')} of {batch_size(net)}, {', '.join(data_labels(net)) or 'no database'}"
        how = method if found.percentile is None else f"{method} {found.percentile:g}"
        click.echo(f"{output}: ranges of {used}; method {how}")
        return {
            "out": output, "batches": iterations, "batch_size": batch_size(net), "method": method,
            "percentile": found.percentile,
            "layers": [
                {"layer": name, "limit": of and of.limit, "signed": of and of.signed}
                for name, of in found.layers.items()
            ],
        }  # fmt: skip
    finally:
        net.close()
