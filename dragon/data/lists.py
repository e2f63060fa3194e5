"""Reads text files that list images with labels, HDF5 files or windows, one entry in a line.

Entries are file names, so their bytes are kept in any encoding (Latin-1, GBK); a byte order mark is removed.
"""

from __future__ import annotations

import codecs
import math
import os

from dragon.counting import how_many
from dragon.errors import DataError
from dragon.files.kinds import kind_of
from dragon.files.reading import is_utf16, read_bytes

__all__ = ["number_in", "read_entries", "read_lines", "unquoted"]

_BLANKS = " \t\v\f"  # around an entry; a name may begin with another blank, as U+3000
_LONGEST_NAME = 4096  # characters, with folders; Linux takes no more bytes
_LISTS = ("a text file", None)  # kinds that a list is recognised as; names need not be UTF-8


def read_lines(path: str, what: str, wanted: str, empty: str = "is empty") -> list[tuple[int, str]]:
    """(number, line) of all lines that are not blank, stripped.

    what: the kind of the list, wanted: the form of a line, empty: the message for a file without lines, all for errors.
    Raises DataError for a file that cannot be read, is of another kind, or has no lines.
    """
    try:
        content = read_bytes(path)
    except OSError as error:
        raise DataError(f'{what} "{path}" cannot be read: {error.strerror or error}') from None
    if is_utf16(content):
        text = content.decode("utf-16", "replace")
    else:
        text = os.fsdecode(content.removeprefix(codecs.BOM_UTF8))
        kind = kind_of(path)
        if kind not in _LISTS or "\0" in text:
            raise DataError(f'{what} "{path}" is {kind or "no text file"}, expected lines {wanted}')
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    found = [(number, line.strip(_BLANKS)) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise DataError(f'{what} "{path}" {empty}')
    return found


def read_entries(
    path: str, what: str, root: str = "", wanted: str = '"FILE LABEL"'
) -> list[tuple[int, str, int | float]]:
    """(line number, file name, label) of lines "FILE LABEL".

    The last blank or tab separates the two, so names may contain blanks; a name may be quoted. root: prefix of the
    names. Raises DataError with the line number.
    """
    return [(number, *_entry(path, number, line, root, wanted)) for number, line in read_lines(path, what, wanted)]


def _entry(path: str, number: int, line: str, root: str, wanted: str) -> tuple[str, int | float]:
    words = line.rsplit(None, 1)
    label = number_in(words[-1])
    if label is None or len(words) < 2:
        raise DataError(f'{path}:{number}: expected {wanted}, got "{line[:60]}"')
    name = unquoted(words[0].strip(_BLANKS), root)
    if len(name) > _LONGEST_NAME:
        raise DataError(f'{path}:{number}: expected {wanted}, got a name of {len(name):,} characters: "{line[:60]}..."')
    labels = 1
    while len(more := name.rsplit(None, labels)) > labels and number_in(more[1]) is not None:
        labels += 1
    if labels > 1 and not os.path.exists(root + name):
        raise DataError(f'{path}:{number}: expected {wanted}, got {how_many(labels, "label")} in "{line[:60]}"')
    return name, label


def unquoted(name: str, root: str) -> str:
    """A file name without the quotes around it, unless a file has them in its name. root: prefix of the name."""
    if len(name) > 2 and name[0] == name[-1] and name[0] in "\"'" and not os.path.exists(root + name):
        return name[1:-1]
    return name


def number_in(text: str) -> int | float | None:
    """`text` as an int or a finite float; None for anything else, also what Python takes for one (`1_0`)."""
    if "_" in text or not text.isascii():
        return None
    for kind in (int, float):
        try:
            value: int | float = kind(text)
        except ValueError:
            continue
        try:
            return value if math.isfinite(value) else None
        except OverflowError:  # an integer beyond all floats
            return None
    return None
