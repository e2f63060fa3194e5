"""Reads webdataset shards: tar files in which the files of a sample follow each other and share a name.

The name of a sample goes up to the first dot behind the last slash: `a/0001.jpg` and `a/0001.cls` are one.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

from dragon.counting import how_many
from dragon.data.class_folders import PICTURES
from dragon.data.samples import Sample, Samples, label_of, sample_files
from dragon.errors import DataError, one_line

__all__ = ["TAR", "read_shards"]

TAR = (".tar", ".tar.gz", ".tgz")
_LARGEST = 1 << 28  # bytes of an image or label


def read_shards(source: str, split: str = "", image: str = "", label: str = "") -> Samples:
    """The samples of a tar file, or of those in a folder, in the order of the files and of their members.

    image: the ending of images, any known one by default. label: the ending of labels, "cls" by default, a whole number
    as text; an entry of the sample's .json where none of its files has this ending. Raises DataError, also on the way.
    """
    files = sample_files(source, TAR, split)
    return Samples(_all(source, files, image, label or "cls"), [], None)


def _all(source: str, files: list[Path], image: str, label: str) -> Iterator[Sample]:
    empty = True
    for file in files:
        for sample in _samples(file, image, label):
            empty = False
            yield sample
    if empty:
        raise DataError(f'"{source}" has no samples')


def _samples(path: Path, image: str, label: str) -> Iterator[Sample]:
    key, parts = "", dict[str, bytes]()
    try:
        with tarfile.open(path, "r|*") as tar:
            for member in tar:
                if not member.isfile() or member.name.rsplit("/")[-1].startswith("."):
                    continue
                folder, slash, file = member.name.rpartition("/")
                stem, _, ending = file.partition(".")
                if folder + slash + stem != key:
                    if parts:
                        yield _sample(path, key, parts, image, label)
                    key, parts = folder + slash + stem, {}
                if member.size > _LARGEST:
                    raise DataError(
                        f"{path}: {member.name} has {how_many(member.size, 'byte')}, more than {_LARGEST:,}"
                    )
                content = tar.extractfile(member)
                parts[ending.lower()] = content.read() if content else b""
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise DataError(f'"{path}" cannot be read as a tar file: {one_line(str(error))}') from None
    if parts:
        yield _sample(path, key, parts, image, label)


def _sample(path: Path, key: str, parts: dict[str, bytes], image: str, label: str) -> Sample:
    where = f"{path}: {key}"
    endings = [image] if image else sorted(one for one in parts if f".{one.rpartition('.')[2]}" in PICTURES)
    if len(endings) != 1 or endings[0] not in parts:
        raise DataError(f"{where}: expected one image{f' .{image}' if image else ''}, got {', '.join(sorted(parts))}")
    if label in parts:
        value: object = parts[label].decode(errors="replace").strip()
    else:
        try:
            value = json.loads(parts["json"])[label]
        except (KeyError, ValueError, TypeError, RecursionError):
            raise DataError(f"{where}: no label .{label}, got {', '.join(sorted(parts))}") from None
    return Sample(where, f"{key}.{endings[0]}", parts[endings[0]], label_of(value, where))
