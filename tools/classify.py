"""`dragon classify`: classifies images."""

from __future__ import annotations

from typing import Any

import click
import numpy as np

from dragon.errors import UsageError
from dragon.models import zoo
from dragon.models.preprocessing import preprocessing_of
from dragon.proto.assign import Assignment
from dragon.pycaffe.classifier import Classifier
from dragon.pycaffe.images import read_image
from dragon.tools.common.engine_options import EngineChoice, engine_options
from dragon.tools.common.images import ImageChoice, check_labels, class_text, image_options, read_labels, scored_class
from dragon.tools.common.json_output import json_option
from dragon.tools.common.models import DEPLOY, model_and_weights
from dragon.tools.common.numbers import Count, sizes
from dragon.tools.common.outputs import OutputFile, refuse_input
from dragon.tools.common.profile import profile_option
from dragon.tools.common.python_layers import allow_python
from dragon.tools.common.set_option import read_changed_net, set_net_option

__all__ = ["command"]


@click.command("classify")
@click.argument("files", type=click.Path(dir_okay=False), nargs=-1, required=True)
@model_and_weights(DEPLOY, "The deploy prototxt, one input, class scores as output; or a net of the zoo.")
@click.option("--labels", metavar="FILE|DIR", help="Names of the classes, one a line, or the folder of class folders.")
@click.option("--top", type=Count(1), default=5, show_default=True, help="Classes to show.")
@click.option("--resize", metavar="H,W", help="Resize images to this before cropping; the input's size by default.")
@click.option("--oversample", is_flag=True, help="Average over ten crops: corners, centre and their mirror images.")
@click.option("--out", type=OutputFile(), help="Save all scores (images, classes) as .npy.")
@image_options
@set_net_option
@profile_option
@allow_python
@engine_options
@json_option
def command(
    files: tuple[str, ...],
    model: str,
    weights: str,
    labels: str | None,
    top: int,
    resize: str | None,
    oversample: bool,
    out: str | None,
    images: ImageChoice,
    assignments: tuple[Assignment, ...],
    profile: str | None,
    choice: EngineChoice,
) -> dict[str, Any]:
    """Classify image FILES by a net and print the likeliest classes of each.

    The name of a net of the zoo brings its weights, the preparation of images that it was trained with, and the names
    of its classes.

    \b
    Example:
    dragon classify --model cifar10_quick_bn_merged cat.jpg
    dragon classify --model deploy.prototxt --weights net.caffemodel --mean 104,117,123 cat.jpg
    """
    if out and not out.endswith(".npy"):
        raise UsageError(f"--out {out}: scores are saved as an array of NumPy, under a name that ends in .npy")
    known = zoo.name_of(model)
    names = read_labels(labels, known)
    size = preprocessing_of(known).size if known and resize is None else _size(resize)
    engine, options = choice.resolve()
    definition = read_changed_net(model, assignments, profile=profile)
    net = Classifier(definition, weights, size, engine=engine, options=options)
    color = images.of_zoo(known).apply(net, model)
    check_labels(labels, names, net)
    scores = []
    images_found: list[dict[str, Any]] = []
    for file in files:
        found = net.predict([read_image(file, color)], oversample)[0].reshape(-1)
        scores.append(found)
        click.echo(file)
        order = np.argsort(-found, kind="stable")[:top]
        best = [scored_class(names, int(index), found[index]) for index in order]
        for one in best:
            click.echo(f"  {one['score']:.4f}  {class_text(one)}")
        images_found.append({"file": file, "classes": best})
    if out:
        refuse_input(out)
        from dragon.files.atomic import atomic_write

        with atomic_write(out) as stream:
            np.save(stream, np.stack(scores))
    return {"images": images_found}


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = sizes(text)
    if len(found) != 2:
        raise UsageError(f'--resize takes height,width, got "{text}"')
    return found[0], found[1]
