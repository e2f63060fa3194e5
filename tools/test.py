"""`dragon test`: computes the mean of the outputs of a net over some batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from dragon.bases.layer import TEST
from dragon.counting import how_many
from dragon.errors import UsageError
from dragon.files.layer_files import layer_files
from dragon.graph.coco_scores import CocoScores
from dragon.graph.detection_scores import AP_VERSIONS, mean_average_precision
from dragon.graph.facts import SYNTHETIC, data_labels, require_data, summary, synthetic
from dragon.graph.means import OutputMeans
from dragon.graph.net import Net
from dragon.graph.outputs import batch_size, format_value, loss_weight, output_elements, output_line
from dragon.parallel.ranks import Ranks
from dragon.share import ALONE, Share
from dragon.tools.common.accuracies import AccuracyInterval, accuracy_intervals
from dragon.tools.common.batches import collect
from dragon.tools.common.engine_options import EngineChoice, engine_options
from dragon.tools.common.ensembles import open_ensemble
from dragon.tools.common.json_output import json_option
from dragon.tools.common.launch import RanksChoice, noting, ranks_options
from dragon.tools.common.models import WEIGHTS, WeightsOption
from dragon.tools.common.net_options import NetChoice, net_options
from dragon.tools.common.numbers import Count
from dragon.tools.common.ranks import share_machine, training_ranks
from dragon.tools.common.repeat import RememberingCommand
from dragon.tools.common.statistics import BATCH, GLOBAL, statistics_of, use_statistics
from dragon.tools.common.tables import table

__all__ = ["command", "score"]

Scores = dict[str, NDArray[Any]]
Document = dict[str, Any]


class _Weights(WeightsOption):
    """--weights, which is required unless there is --ensemble."""

    others = ("ensemble",)


@click.command("test", cls=RememberingCommand)
@net_options()
@click.option(
    "--weights", cls=_Weights, required=True, metavar="FILE,...", help=".caffemodel, HDF5 or .safetensors files."
)
@click.option(
    "--ensemble", type=WEIGHTS, multiple=True, metavar="FILE", help="Weights of one of several nets; twice or more."
)
@click.option("--iterations", type=Count(1), default=50, show_default=True, help="Batches to run.")
@click.option(
    "--ap-version",
    type=click.Choice(AP_VERSIONS),
    default="Integral",
    show_default=True,
    help="How average precisions of detections are computed.",
)
@click.option("--coco", is_flag=True, help="Also print COCO's scores of detections (extra coco).")
@click.option("--write-files", is_flag=True, help="Let layers (HDF5Output, DetectionOutput) write their files.")
@engine_options
@ranks_options()
@json_option
def command(
    which: NetChoice,
    weights: str | None,
    ensemble: tuple[str, ...],
    iterations: int,
    ap_version: str,
    coco: bool,
    write_files: bool,
    choice: EngineChoice,
    ranks_choice: RanksChoice,
) -> Document | None:
    """Print the mean of every output of a net in phase TEST.

    A net with batch normalisation is scored twice on the same batches: as its prototxt says, normally by the global
    statistics (the running averages of training), and by the other kind, each batch's own. Where they differ
    much, `dragon recalibrate` gives averages that fit the weights. An accuracy has its 95 % interval, by Wilson's
    formula, for the number of different images that were seen.

    Of a net that ends with DetectionEvaluate the mean average precision is printed, and that of each class.

    With --ensemble for each of several nets of one definition, in place of --weights, each net is scored, and as
    ensemble_NAME, for each Accuracy NAME, the mean of their class probabilities.

    On several ranks, by --ranks, --gpu 0,1 or mpirun, each runs a part of the batches, and the figures are the same.

    \b
    Example: dragon test --model models/lenet/train_val.prototxt --weights runs/lenet/lenet_iter_500.caffemodel
    """
    if weights is not None and ensemble:
        raise click.UsageError("give either --weights or --ensemble")
    with training_ranks() as ranks, noting(ranks_choice, ranks):
        leads = ranks is None or ranks.leads
        if ranks is not None:
            if write_files:
                raise UsageError("--write-files needs one process: each rank would write the same files")
            choice = share_machine(choice, ranks)
        engine, options = choice.resolve()
        share = ALONE if ranks is None else Share(ranks.rank, ranks.size)

        def open_net() -> Net:
            if ensemble:
                return open_ensemble(which, ensemble, TEST, engine, options, share)
            return which.open(TEST, engine, options, weights, share=share)

        with layer_files(write_files):
            nets = [open_net()]
        names: list[str] = []
        try:
            require_data(nets[0], which.model)
            own = statistics_of(nets[0])
            if own is not None:
                other = BATCH if own == GLOBAL else GLOBAL
                # a second net with its own reader, not a second pass: both read the same batches in the same order
                nets.append(open_net())
                use_statistics(nets[1], other)
                names = [own, other]
            if leads:
                _print_opening(nets[0], iterations, ranks)
            of_coco = [CocoScores(net) for net in nets] if coco else []
            collected = collect(nets, iterations, ap_version, of_coco, ranks)
            if not leads:
                return None
            means: list[Scores] = [{**one.means(iterations)} for one in collected]
            detections = [_detections(one, of_coco[i].scores() if coco else None) for i, one in enumerate(collected)]
            accuracies = [accuracy_intervals(nets[0], mean, iterations) for mean in means]
            _print(nets[0], means, names, accuracies, detections)
            return {
                "net": nets[0].name, "engine": nets[0].executor.name, "iterations": iterations,
                "ranks": 1 if ranks is None else ranks.size,
                "batch_size": batch_size(nets[0]), "data": data_labels(nets[0]), "synthetic": synthetic(nets[0]),
                "scores": [
                    _document(nets[0], mean, name, found) | {"detections": boxes}
                    for name, mean, found, boxes in zip([*names, None], means, accuracies, detections, strict=False)
                ],
            }  # fmt: skip
        finally:
            for net in nets:
                net.close()


def _print_opening(net: Net, iterations: int, ranks: Ranks | None) -> None:
    click.echo(summary(net))
    click.echo(
        f"engine {net.executor.name}, {how_many(iterations, 'batch')}"
        + (f" on {how_many(ranks.size, 'rank')}" if ranks else "")
    )
    if synthetic(net):
        click.echo(SYNTHETIC)


def score(nets: Sequence[Net], iterations: int, ap_version: str = "Integral") -> list[Scores]:
    """The mean outputs of each net over `iterations` batches. Raises NumericError if an output is not finite."""
    return [{**collected.means(iterations)} for collected in collect(nets, iterations, ap_version)]


def _detections(collected: OutputMeans, coco: dict[str, float] | None) -> list[Document]:
    """The scores of detections: for each output that compares them with labels."""
    return [
        {"name": name, "mean_average_precision": mean_average_precision(classes), "classes": classes, "coco": coco}
        for name, classes in collected.classes().items()
    ]


def _print_detections(found: Sequence[Document]) -> None:
    for one in found:
        rows = [[f"{c.label}", f"{c.boxes:,}", f"{c.average_precision:.4f}"] for c in one["classes"]]
        click.echo(table(["class", "boxes", "average precision"], rows))
        if any(not c.boxes for c in one["classes"]):
            click.echo("classes without boxes count as 0")
        click.echo(f"mAP {one['mean_average_precision']:.4f} ({one['name']})")
        if one["coco"]:
            click.echo("COCO: " + ", ".join(f"{name} {value:.4f}" for name, value in one["coco"].items()))


def _loss(net: Net, mean: Scores) -> float:
    return sum(loss_weight(net, name) * float(np.sum(value)) for name, value in mean.items())


def _document(net: Net, mean: Scores, statistics: str | None, accuracies: list[AccuracyInterval]) -> Document:
    """The scores of a net by one kind of statistics of batch normalisation, None for a net without any."""
    return {
        "statistics": statistics,
        "loss": _loss(net, mean),
        "outputs": [
            {"name": name, "value": value, "loss_weight": weight} for name, value, weight in output_elements(net, mean)
        ],
        "accuracies": accuracies,
    }


def _print(
    net: Net,
    means: Sequence[Scores],
    names: Sequence[str],
    accuracies: Sequence[list[AccuracyInterval]],
    detections: Sequence[list[Document]],
) -> None:
    """Print the scores of the net as its prototxt says, in Caffe's form, then those by the other statistics.

    names: the kinds of statistics, if the net has batch normalisation.
    """
    if names:
        click.echo(f"\nby {names[0]}, as the net says:")
    click.echo(f"Loss: {format_value(_loss(net, means[0]))}")
    for element in output_elements(net, means[0]):
        click.echo(output_line(*element))
    for accuracy in accuracies[0]:
        click.echo(accuracy.text)
    _print_detections(detections[0])
    for name, mean, found, boxes in zip(names[1:], means[1:], accuracies[1:], detections[1:], strict=True):
        click.echo(f"\nby {name} instead:")
        click.echo(table(["output", "mean"], [[k, format_value(value)] for k, value, _ in output_elements(net, mean)]))
        for accuracy in found:
            click.echo(accuracy.text)
        _print_detections(boxes)
