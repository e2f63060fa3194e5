"""Text files about classes that YOLO's region loss reads: trees of classes, and maps from labels to classes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dragon.counting import how_many
from dragon.errors import DataError
from dragon.files.reading import read_text
from dragon.memory.storage import Array

__all__ = ["ClassTree", "read_class_map", "read_class_tree"]


class ClassTree:
    """Classes with a parent each; a softmax for each group of siblings (YOLO9000, Redmon & Farhadi 2017, section 4).

    parent: for each class the number of its parent, which is smaller, or -1. Consecutive classes with the same parent
    are a group.
    """

    def __init__(self, parent: NDArray[np.intp]) -> None:
        self.parent = parent
        starts = np.flatnonzero(np.diff(parent, prepend=-2))
        self._groups = list(zip(starts, [*starts[1:], len(parent)], strict=True))
        self._group = np.searchsorted(starts, np.arange(len(parent)), side="right") - 1

    def __len__(self) -> int:
        return len(self.parent)

    def losses(self, scores: Array, label: NDArray[np.intp]) -> tuple[Array, Array]:
        """-log of the probability of each label (M) and its gradient (M, C), from scores (M, C) before the softmax.

        The probability of a class is that among its siblings, times that of its parent.
        """
        loss, slope = np.zeros(len(label)), np.zeros_like(scores)
        row = np.arange(len(label))
        while len(row):
            for group in np.unique(self._group[label]).tolist():
                start, end = self._groups[group]
                here = self._group[label] == group
                rows, place = row[here], label[here] - start
                part = scores[rows, start:end] - scores[rows, start:end].max(axis=1, keepdims=True)
                part -= np.log(np.exp(part).sum(axis=1, keepdims=True))
                loss[rows] -= part[np.arange(len(rows)), place]
                slope[rows, start:end] = np.exp(part)
                slope[rows, start + place] -= 1
            label = self.parent[label]
            row, label = row[label >= 0], label[label >= 0]
        return loss, slope


def read_class_tree(path: str, classes: int) -> ClassTree:
    """A tree of so many classes, from a file of Darknet: lines "name parent", -1 for no parent. Raises DataError."""
    parents: list[int] = []
    for where, words in _lines(path):
        parent = _number(words[1]) if len(words) == 2 else None
        if parent is None:
            raise DataError(f'{where}: expected "name parent", got "{" ".join(words)[:60]}"')
        if not -1 <= parent < len(parents):
            raise DataError(
                f"{where}: the parent of class {len(parents)} is {parent}: expected -1 or a class before it"
            )
        parents.append(parent)
    if len(parents) != classes:
        raise DataError(f"{path} has {how_many(len(parents), 'class')}, num_class is {classes}")
    return ClassTree(np.array(parents, np.intp))


def read_class_map(path: str, classes: int) -> NDArray[np.intp]:
    """The class of each label, from a file with a class in each line, the one of label 0 first. Raises DataError."""
    found: list[int] = []
    for where, words in _lines(path):
        number = _number(words[0])
        if number is None or not 0 <= number < classes:
            raise DataError(f'{where}: expected a class from 0 to {classes - 1}, got "{words[0][:60]}"')
        found.append(number)
    if not found:
        raise DataError(f"{path}: holds no line")
    return np.array(found, np.intp)


def _lines(path: str) -> Iterator[tuple[str, list[str]]]:
    """The lines of a file that are not empty, with their places, as words."""
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'"{path}" cannot be read: {error}') from None
    for number, line in enumerate(text.splitlines(), 1):
        if words := line.split():
            yield f"{path}:{number}", words


def _number(word: str) -> int | None:
    try:
        return int(word)
    except ValueError:
        return None
