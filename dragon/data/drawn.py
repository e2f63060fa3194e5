"""Folders of drawn data: written whole or not at all, and described by `dataset.json`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.data.dataset import Dataset, difference, read_split
from dragon.data.digest import DESCRIPTION
from dragon.data.new_folder import new_folder
from dragon.errors import DataError
from dragon.files.folders import make_folder
from dragon.files.reading import read_text

__all__ = ["Digits", "Drawn", "Files", "read_digits", "write_drawn"]


@dataclass(frozen=True)
class Files:
    """One part of a set: its path, and what it holds, in words."""

    path: Path
    content: str


@dataclass(frozen=True)
class Drawn:
    """A complete folder of drawn data. written: whether this call wrote it. parts: by name, for output."""

    label: str
    folder: Path
    written: bool
    parts: Mapping[str, Files] = field(default_factory=dict)


@dataclass(frozen=True)
class Digits:
    """Images (N, 28, 28) uint8 and labels (N) of the training and of the test digits, from which scenes are made."""

    train: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    test: tuple[NDArray[np.uint8], NDArray[np.uint8]]


def read_digits(mnist: Dataset) -> Digits:
    """The digits of a complete MNIST folder. Raises DataError."""
    parts = [read_split(path) for path in (mnist.train, mnist.test)]
    train, test = ((part.images[:, 0], part.labels) for part in parts)
    return Digits(train, test)


def write_drawn(folder: str | os.PathLike[str], description: Mapping[str, Any], write: Callable[[Path], None]) -> bool:
    """Write a folder, with `description` as its dataset.json; returns False if it is complete already.

    write: fills the folder, which has a temporary name meanwhile. Raises DataError if the folder holds another set.
    """
    root = Path(folder)
    if root.exists():
        try:
            found = json.loads(read_text(root / DESCRIPTION))
        except (OSError, ValueError, RecursionError):
            raise DataError(f'"{root}" exists and holds no drawn data: choose another folder with --dir') from None
        if found != description:
            raise DataError(
                f'"{root}" holds another dataset: {difference(found, description)}; '
                "choose another folder with --dir, or remove it"
            )
        return False
    try:
        make_folder(root.parent)
    except OSError as error:
        raise DataError(f'dataset folder "{root}" cannot be written: {error.strerror or error}') from None
    with new_folder(root, "dataset folder") as temporary:
        write(temporary)
        (temporary / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return True
