"""Files that the layers of a net read, and digests of what is in them: of lists with all that they name, of code.

A key has digests in place of paths, so that a run is found again when its data have moved, and not when they have
changed. Databases have digests of their own (dragon.data.digest).
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path

from google.protobuf.message import Message

from dragon.bases.registry import class_of
from dragon.data.lists import read_lines, unquoted
from dragon.errors import DataError
from dragon.files.folders import files_below
from dragon.files.paths import find, path_or_none
from dragon.files.reading import read_bytes
from dragon.proto import dragon_pb2 as pb

__all__ = [
    "file_digest",
    "find_files",
    "forget_files",
    "list_digest",
    "module_digest",
    "named_digest",
    "named_files",
    "stamp",
]

# fields of layers that name a file which is read
_FIELDS = (
    "source", "mean_file", "label_map_file", "region_file", "video_file", "name_size_file", "softmax_tree", "class_map",
)  # fmt: skip
_NUMBER = re.compile(r"[\d.,+#-]+")
_TRIES = 20  # names of a line with many words
_MOST_BYTES = 2 << 30  # of all files of a list: beyond that sizes and times stand for their content


def named_files(net: pb.NetParameter) -> Iterator[tuple[Message, str, str]]:
    """Where the layers of a net name files: message, field, and the prefix of the names in them if it is a list.

    Not the databases of `data_param`.
    """
    for layer in net.layer:
        for settings in class_of(layer).settings:
            message = getattr(layer, settings)
            if not isinstance(message, Message) or settings == "data_param":
                continue
            for field, value in message.ListFields():
                if field.name in _FIELDS and isinstance(value, str) and value:
                    yield message, field.name, str(getattr(message, "root_folder", ""))


def find_files(net: pb.NetParameter, folder: Path) -> None:
    """Put the paths that are found from the folder of a net's file in place of those that it names."""
    for message, field, root in named_files(net):
        if (found := find(getattr(message, field), folder)) is not None:
            setattr(message, field, str(found))
        if root.endswith("/") and (found := find(root, folder)) is not None:
            message.root_folder = f"{found}/"  # type: ignore[attr-defined]  # of a message that has one


def forget_files() -> None:
    """Look at all lists and folders again: until the next call they count as they were when they were first read."""
    list_digest.cache_clear()
    _tree_digest.cache_clear()


def file_digest(path: str) -> str:
    """The digest of a file's bytes; the path if it cannot be read, which the layer reports later."""
    return _file_digest_at(path, *stamp(Path(path)))


@lru_cache(maxsize=1024)
def _file_digest_at(path: str, *stamps: int) -> str:
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except OSError:
        return path


def stamp(path: Path) -> tuple[int, ...]:
    """Times of change and sizes of a file, or of the files in a folder: after a change it is digested anew."""
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        found = [os.stat(file) for file in files]
    except OSError:
        return ()
    return tuple(number for stat in found for number in (stat.st_mtime_ns, stat.st_size))


def named_digest(path: str, field: str, root: str, folder: str | None = None) -> str:
    """The digest for a field of `named_files`: `source` may be a list or a folder, the others are files.

    folder: see `list_digest`.
    """
    return list_digest(path, root, folder) if field == "source" else file_digest(path)


def module_digest(name: str, folder: str | None = None) -> str:
    """The digest of the code of a Python layer's module, which is not run; empty where there is none.

    folder: that of the net, in which the layer looks for it last.
    """
    places = [*sys.path, str(Path.cwd()), *([] if folder is None else [folder])]
    spec = None
    for end in range(1, name.count(".") + 2):
        spec = PathFinder.find_spec(".".join(name.split(".")[:end]), places)
        if spec is None:
            return ""
        places = list(spec.submodule_search_locations or [])
    return file_digest(spec.origin) if spec is not None and spec.origin else ""


@lru_cache(maxsize=64)
def list_digest(path: str, root: str, folder: str | None = None) -> str:
    """The digest of a file or folder, and of all files that it names if it is a list. root: prefix of the names.

    The content of a file stands for its path. folder: where the files are looked for after the working directory.
    """
    if os.path.isdir(path):
        return _tree_digest(path, True)
    try:
        lines = [line for _, line in read_lines(path, "list", "FILE")]
    except DataError:  # no list
        return file_digest(path)
    parts = [_parts(line, root, path_or_none(folder)) for line in lines]
    names = {name for line in parts for name, is_file in line if is_file}
    whole = sum(os.path.getsize(name) for name in names if os.path.isfile(name)) <= _MOST_BYTES
    total = hashlib.sha256()
    for line in parts:
        for text, is_file in line:
            total.update((_digest_of(text, whole) if is_file else text).encode(errors="surrogateescape") + b"\0")
        total.update(b"\n")
    return total.hexdigest()


def _parts(line: str, root: str, folder: Path | None) -> list[tuple[str, bool]]:
    """The files that a line names, as paths, and the words between them. Names may contain blanks."""
    found: list[tuple[str, bool]] = []
    words = line.split()
    numbers = next((n for n, word in enumerate(reversed(words)) if not _NUMBER.fullmatch(word)), len(words))
    while line:
        places = ((name, find(root + unquoted(name, root), folder)) for name in _names(line, root, numbers))
        name, place = next(((name, place) for name, place in places if place is not None), ("", None))
        if place is not None:
            found.append((str(place), True))
        else:
            name = line.split(None, 1)[0]
            found.append((name, False))
        line = line[len(name) :].strip()
    return found


def _names(line: str, root: str, numbers: int) -> list[str]:
    """What may be a name at the start of a line: it without the numbers behind the name, then shorter and longer ones.

    A number is one only where there is a prefix, such as a folder of images. numbers: how many the line ends with, or
    more where it is the rest of one.
    """
    words = line.split()
    if numbers >= len(words):
        return words[:1] if root else []
    ends = [*range(numbers, len(words)), *range(numbers - 1, -1, -1)]
    return [line.rsplit(None, behind)[0] for behind in ends[:_TRIES]]


def _digest_of(path: str, whole: bool) -> str:
    if os.path.isdir(path):
        return _tree_digest(path, whole)
    return file_digest(path) if whole else str(stamp(Path(path)))


@lru_cache(maxsize=256)
def _tree_digest(path: str, whole: bool) -> str:
    """The digest of a folder: the names below it and what is in the files."""
    root = Path(path)
    files = [one for one in files_below(root) if one.name != "lock.mdb"]
    whole = whole and sum(one.stat().st_size for one in files) <= _MOST_BYTES
    total = hashlib.sha256()
    for one in files:
        total.update(f"{one.relative_to(root).as_posix()}\0".encode(errors="surrogateescape"))
        total.update(_digest_of(str(one), whole).encode() + b"\n")
    return total.hexdigest()
