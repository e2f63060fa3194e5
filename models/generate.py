"""Writes the prototxt files of the zoo, and the counts in its readmes: `python models/generate.py [FOLDER [NAME ...]]`.

One description per net gives train_val and deploy, so that the two cannot disagree. Nets that are meant to be
compared use the same layer names, and with them the same weights for the same seed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from dragon.counting import how_many
from dragon.errors import UsageError, nearest
from dragon.files.atomic import write_atomically
from dragon.files.folders import make_folder
from dragon.models.facts import count, without_data, write_counts
from dragon.models.nets import (
    alexnet,
    cifar10,
    dcgan,
    densenet,
    edges,
    enet,
    faster_rcnn,
    fcn,
    googlenet,
    imagenet,
    inception,
    linear,
    mnist,
    mnist_unlabelled,
    mobilenet,
    mtcnn,
    nin,
    openpose,
    refinedet,
    resnet,
    restoration,
    rfcn,
    segmentation,
    sequences,
    shufflenet,
    squeezenet,
    ssd,
    vgg,
    xception,
    yolo,
)
from dragon.models.nets.model import Deployed, Model
from dragon.proto.text import read_net

__all__ = ["MODELS", "counts_of", "write_all"]

_FAMILIES = (
    alexnet, cifar10, densenet, googlenet, imagenet, inception, linear, mnist, mnist_unlabelled, mobilenet, nin,
    resnet, shufflenet, squeezenet, vgg, xception, fcn, segmentation, enet, edges, restoration, dcgan, sequences,
    ssd, refinedet, faster_rcnn, rfcn, yolo, mtcnn, openpose,
)  # fmt: skip
MODELS: dict[str, Model | Deployed] = {name: model for family in _FAMILIES for name, model in family.MODELS.items()}


def counts_of(name: str, folder: Path) -> dict[str, int]:
    """The counts of a model, from its prototxt files under `folder`."""
    model, train = MODELS[name], None
    if isinstance(model, Model):
        train = without_data(read_net(folder / name / "train_val.prototxt"), model.data.shapes(1))
    return count(train, read_net(folder / name / "deploy.prototxt"))


def write_all(folder: Path, names: Iterable[str] = MODELS) -> list[Path]:
    """Write the prototxt files of these models under `folder`, and their counts into readmes there; the paths.

    Raises UsageError for a name that is none of MODELS, before anything is written.
    """
    written, chosen = [], list(names)
    for name in chosen:
        if name not in MODELS:
            raise UsageError(f'no family in models/nets has a model "{name}"{nearest(name, MODELS)}')
    for name in chosen:
        model = MODELS[name]
        make_folder(folder / name)
        for file, text in model.files(name).items():
            write_atomically(folder / name / file, text.encode())
            written.append(folder / name / file)
        if (folder / name / "readme.md").exists():
            written.append(write_counts(name, counts_of(name, folder), folder))
    return written


if __name__ == "__main__":
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    try:
        print(f"{how_many(len(write_all(where, sys.argv[2:] or MODELS)), 'file')} written")
    except UsageError as error:
        sys.exit(f"models/generate.py: error: {error}")
