"""Reads lists whose lines have more than a file and a label: several labels, label maps, clips of videos."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import NoReturn

from dragon.counting import how_many
from dragon.data.lists import number_in, read_lines, unquoted
from dragon.errors import DataError

__all__ = ["Clip", "Pair", "read_clips", "read_labels", "read_pairs"]


@dataclass(frozen=True)
class Pair:
    """A line that names an image and its label map, or gives one label for all of the image."""

    line: int
    image: str
    label: str | None


@dataclass(frozen=True)
class Clip:
    """A line that names a video or a folder of frames, a number (first frame, or how many there are) and a label."""

    line: int
    name: str
    number: int | None
    label: float


def read_labels(path: str, root: str = "") -> list[tuple[str, tuple[float, ...]]]:
    """(file, labels) of each line "FILE LABEL LABEL ..."; all lines have as many labels as the first.

    A name may contain blanks. root: prefix of the names. Raises DataError with the line number.
    """
    wanted = '"FILE LABEL LABEL ..."'
    found: list[tuple[str, tuple[float, ...]]] = []
    for number, line in read_lines(path, "image list", wanted):
        words = line.split()
        count = len(found[0][1]) if found else _trailing_numbers(words)
        labels = [number_in(word) for word in words[len(words) - count :]]
        values = tuple(float(label) for label in labels if label is not None)
        if not count or len(words) <= count or len(values) < count or _more(line, count, root):
            of = f" with {how_many(count, 'label')}, as in the first line" if found else ""
            _refuse(path, number, f"{wanted}{of}", line)
        found.append((unquoted(line.rsplit(None, count)[0].strip(), root), values))
    return found


def _trailing_numbers(words: list[str]) -> int:
    return next((i for i, word in enumerate(reversed(words)) if number_in(word) is None), len(words) - 1)


def _more(line: str, count: int, root: str) -> bool:
    """Whether the name that `count` labels leave ends in a number, and no file has this name."""
    name = line.rsplit(None, count)[0].strip()
    return number_in(name.split()[-1]) is not None and len(name.split()) > 1 and not os.path.exists(root + name)


def read_pairs(path: str, root: str = "", wanted: str = '"IMAGE MAP"', label: bool = True) -> list[Pair]:
    """The lines "IMAGE MAP", or "IMAGE" without `label`. Where names have blanks, both must be names of files.

    root: prefix of the names. Raises DataError with the line number.
    """
    return [_pair(path, number, line, root, wanted, label) for number, line in read_lines(path, "image list", wanted)]


def _pair(path: str, number: int, line: str, root: str, wanted: str, label: bool) -> Pair:
    words = line.split()
    if not label:
        return Pair(number, unquoted(line if os.path.exists(root + line) else words[0], root), None)
    if len(words) == 2:
        return Pair(number, unquoted(words[0], root), unquoted(words[1], root))
    blanks = [i for i, character in enumerate(line) if character.isspace()]
    for i in blanks:
        names = [unquoted(part.strip(), root) for part in (line[:i], line[i:])]
        if all(name and os.path.exists(root + name) for name in names):
            return Pair(number, names[0], names[1])
    return _refuse(path, number, wanted, line)


def read_clips(path: str, root: str, numbered: bool, what: str) -> list[Clip]:
    """The lines "VIDEO NUMBER LABEL", or "VIDEO LABEL" if they are not `numbered`. what: the number, for errors.

    A name may contain blanks. root: prefix of the names. Raises DataError with the line number.
    """
    wanted = f'"VIDEO {what} LABEL"' if numbered else '"VIDEO LABEL"'
    return [_clip(path, *line, root, numbered, wanted) for line in read_lines(path, "list of videos", wanted)]


def _clip(path: str, number: int, line: str, root: str, numbered: bool, wanted: str) -> Clip:
    words = line.rsplit(None, 2 if numbered else 1)
    label = number_in(words[-1])
    at = number_in(words[1]) if numbered and len(words) > 2 else None
    if label is None or len(words) < (3 if numbered else 2) or (numbered and not isinstance(at, int)):
        _refuse(path, number, wanted, line)
    if isinstance(at, int) and at < 0:
        raise DataError(f'{path}:{number}: expected a number of at least 0 behind the video, got {at} in "{line[:60]}"')
    return Clip(number, unquoted(words[0].strip(), root), at if isinstance(at, int) else None, float(label))


def _refuse(path: str, number: int, wanted: str, line: str) -> NoReturn:
    raise DataError(f'{path}:{number}: expected {wanted}, got "{line[:60]}"')
