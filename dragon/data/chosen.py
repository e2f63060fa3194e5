"""Sets with validation images, or with fewer training images, made from a complete dataset.

The validation images are chosen from the training set by a seed, each class in proportion to its size; what is left
is the training set, in its old order, with a mean image of its own. The test images stay as they are.
"""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dragon.counting import how_many
from dragon.data.dataset import Dataset, Split, read_split, write_dataset
from dragon.data.progress import Progress, silent
from dragon.errors import DataError
from dragon.rng import Stream

__all__ = ["choose", "write_chosen"]


def write_chosen(
    full: Dataset,
    folder: str | os.PathLike[str],
    validation: int = 0,
    subset: int = 0,
    seed: int = 1,
    progress: Progress = silent,
) -> Dataset:
    """Write to `folder` a set of `validation` images of the training set of `full`, and of `subset` of the others.

    subset: 0 takes all other images for training. The validation images are the same whatever `subset` is. Raises
    DataError, also if `full` has too few images.
    """
    kind = full.kind
    left = kind.train - validation
    if left < max(1, subset):
        parts = ((validation, "validation images"), (subset, "training images"))
        asked = " and ".join(f"{count:,} {what}" for count, what in parts if count)
        raise DataError(f"{kind.label} has {how_many(kind.train, 'training image')}, too few for {asked}")
    facts = {
        "chosen": "from the training set, each class in proportion",
        "chosen_from": kind.train,
        "chosen_seed": seed,
    }
    small = replace(kind, train=subset or left, val=validation, facts={**kind.facts, **facts})

    def load() -> tuple[Split, ...]:
        train, test = read_split(full.train), read_split(full.test)
        held = choose(train.labels, validation, Stream(seed, "validation"))
        rest = np.setdiff1d(np.arange(len(train.labels)), held)
        if subset:
            rest = rest[choose(train.labels[rest], subset, Stream(seed, "subset"))]
        parts = [_part(train, rest), test]
        return (*parts, _part(train, held)) if validation else tuple(parts)

    return write_dataset(folder, small, load, progress)


def choose(labels: NDArray[np.uint8], count: int, stream: Stream) -> NDArray[np.intp]:
    """The ascending indices of `count` images, drawn from each class in proportion to its size.

    What does not divide goes to the classes with the largest remainders, among equal ones to the smaller label.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    exact = sizes * count  # over len(labels)
    quotas = exact // len(labels)
    largest = np.argsort(-(exact % len(labels)), kind="stable")
    quotas[largest[: count - quotas.sum()]] += 1
    order = np.argsort(stream.raw(len(labels)), kind="stable")  # words of the generator: the same on every NumPy
    ranked = labels[order]
    picked = [order[ranked == label][:quota] for label, quota in zip(classes, quotas, strict=True)]
    return np.sort(np.concatenate(picked))


def _part(split: Split, indices: NDArray[np.intp]) -> Split:
    return Split(split.images[indices], split.labels[indices])
