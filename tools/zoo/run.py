"""`dragon zoo run`: runs a net of the zoo on images or on noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from dragon.bases.ctc_decoder import CTCDecoder
from dragon.bases.layer import TEST
from dragon.bases.registry import class_of
from dragon.errors import UsageError
from dragon.graph.net import Net
from dragon.models import zoo
from dragon.models.facts import ROOT, read_facts
from dragon.proto import dragon_pb2 as pb
from dragon.proto.assign import Assignment
from dragon.proto.definition import Definition
from dragon.pycaffe.classifier import Classifier
from dragon.pycaffe.images import read_image
from dragon.pycaffe.region_nets import IMAGE_INFO
from dragon.tools import classify, detect
from dragon.tools.common.engine_options import engine_option
from dragon.tools.common.images import ImageChoice
from dragon.tools.common.models import WEIGHTS
from dragon.tools.common.numbers import Count
from dragon.tools.common.set_option import read_changed_net, set_net_option

__all__ = ["command"]


@click.command("run")
@click.argument("name", metavar="NAME")
@click.argument("images", type=click.Path(dir_okay=False), nargs=-1)
@click.option("--weights", type=WEIGHTS, metavar="FILE", help="Other weights than the zoo's.")
@click.option("--top", type=Count(1), default=5, show_default=True, help="Classes to show.")
@set_net_option
@engine_option
@click.pass_context
def command(
    ctx: click.Context,
    name: str,
    images: tuple[str, ...],
    weights: str | None,
    top: int,
    assignments: tuple[Assignment, ...],
    engine: str | None,
) -> None:
    """Run the net NAME.

    With IMAGES a net for classification prints their classes, one that finds boxes these,
    one that ends with a CTC decoder the labels it reads, and another one what its outputs are. Images are prepared
    as in the net's training. Without IMAGES the net runs once on noise, and the shapes of its inputs and outputs are
    shown; this needs no weights.

    \b
    Example: dragon zoo run cifar10_quick_bn_merged cat.jpg
    """
    model = zoo.NetFile(zoo.file_of(name, zoo.DEPLOY, ROOT), name)
    if images and weights is None:
        weights = str(zoo.require_weights(name, ROOT))
    definition = read_changed_net(model, assignments)
    layers = definition.message.layer
    shared = {"model": model, "weights": weights, "assignments": assignments, "engine": engine}
    if images and read_facts(name, ROOT).task == "classification":
        ctx.invoke(classify.command, files=images, top=top, **shared)
    elif images and class_of(layers[-1]).gives_boxes:
        ctx.invoke(detect.command, windows=images, **shared)
    elif images:
        inputs = [top for layer in layers if layer.type == "Input" for top in layer.top]
        if len(inputs) != 1:
            raise UsageError(f'"{name}" has the inputs {", ".join(inputs)}: images are for nets with one')
        _on_images(name, definition, images, str(weights), engine)
    else:
        _on_noise(name, definition, weights, engine)


def _on_images(
    name: str, definition: Definition[pb.NetParameter], images: Sequence[str], weights: str, engine: str | None
) -> None:
    with Classifier(definition, weights, engine=engine) as net:
        color = ImageChoice(None, 255.0, None, None).of_zoo(name).apply(net, str(definition.file))
        for image in images:
            click.echo(image)
            side = [int(length) for length in net.crop_dims]
            data = net.transformer.preprocess(net.inputs[0], read_image(image, color))
            net.blobs[net.inputs[0]].reshape(1, data.shape[0], *side)
            net.blobs[net.inputs[0]].data[...] = data
            _show(net, net.forward())


def _on_noise(name: str, definition: Definition[pb.NetParameter], weights: str | None, engine: str | None) -> None:
    weights = weights or next((str(found) for found in [zoo.find_weights(name, ROOT)] if found), None)
    if weights is None:
        click.echo(f'no weights of "{name}" are here, so all are zero: {zoo.how_to_get(name, ROOT)}', err=True)
    with Net(definition, phase=TEST, weights=weights, engine=engine, seed=1) as net:
        draws = np.random.default_rng(1)
        for blob in net.inputs:
            click.echo(f"input   {blob} {net.blobs[blob].shape}")
            net.blobs[blob].data[...] = draws.random(net.blobs[blob].shape, np.float32)
        if IMAGE_INFO in net.inputs:  # the size is no matter of chance
            net.blobs[IMAGE_INFO].data[...] = [[*net.blobs[net.inputs[0]].shape[2:], 1]]
        _show(net, net.forward())


def _show(net: Net, found: Mapping[str, NDArray[Any]]) -> None:
    readings = {node.top_names[0] for node in net.nodes if isinstance(node.layer, CTCDecoder)}
    for blob in net.outputs:
        values = found[blob]
        if blob in readings:
            for row in values.reshape(len(values), -1):
                click.echo(f"output  {blob} reads {' '.join(str(int(label)) for label in row[row >= 0]) or 'nothing'}")
            continue
        facts = f", {values.min():.4g} to {values.max():.4g}, mean {values.mean():.4g}" if values.size else ""
        click.echo(f"output  {blob} {values.shape}{facts}")
