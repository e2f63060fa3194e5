"""Images in a folder for each class: which files there are, and the classes in the order of their labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dragon.data.lists import read_lines
from dragon.errors import DataError, nearest, one_line
from dragon.files.folders import walk

__all__ = ["CLASSES", "PICTURES", "class_names", "read_class_folders"]

CLASSES = "classes.txt"
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".pbm", ".tif", ".tiff", ".webp", ".gif"})


def read_class_folders(folder: str) -> tuple[list[str], list[tuple[str, int]]]:
    """The classes below a folder, and (file, label) of each image, its path from the folder; both sorted by name.

    A class may have folders of its own; names that begin with a dot are left out, and so are files that are no
    pictures by their ending. Labels are those of `class_names`. Raises DataError.
    """
    names, found = class_names(folder), []
    label = {name: k for k, name in enumerate(names)}
    for name in _folders(folder):
        if name not in label:
            raise DataError(f'image folder "{folder}": class "{name}" is not in its {CLASSES}{nearest(name, names)}')
        images = _images(Path(folder), name)
        if not images:
            why = f'class "{name}" has no image ({", ".join(sorted(PICTURES))})'
            raise DataError(f'image list "{folder}", a folder of classes, cannot be read: {why}')
        found += [(image, label[name]) for image in images]
    return names, found


def class_names(folder: str) -> list[str]:
    """The classes of a folder of class folders, by label.

    They are the lines of classes.txt in the folder, or beside it, so that training and test images have the same labels
    where one of them lacks a class; without such a file, the names of the class folders, sorted. Raises DataError.
    """
    folders = _folders(folder)
    if not folders:
        why = "this is a folder, and it has no folder for a class in it"
        raise DataError(f'image list "{folder}" cannot be read: {why}')
    for name in folders:
        if any(end in name for end in "\r\n"):  # names are lines of classes.txt
            raise DataError(f'image folder "{folder}": the class "{one_line(name)}" has a line break in its name')
    for place in (Path(folder), Path(os.path.abspath(folder)).parent):
        if (place / CLASSES).is_file():
            return _listed(place / CLASSES)
    return folders


def _listed(path: Path) -> list[str]:
    lines = read_lines(str(path), "list of classes", '"NAME"')
    names = [name for _, name in lines]
    for k, (number, name) in enumerate(lines):
        if name in names[:k]:
            raise DataError(f'{path}:{number}: class "{name}" is there twice')
    return names


def _folders(folder: str) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f'image folder "{folder}" cannot be read: {error.strerror}') from None


def _images(root: Path, name: str) -> Sequence[str]:
    found: list[str] = []
    for place, files in walk(root / name, lambda one: not one.startswith(".")):
        pictures = [file for file in files if os.path.splitext(file)[1].lower() in PICTURES]
        found += [Path(place, file).relative_to(root).as_posix() for file in pictures if not file.startswith(".")]
    return found
