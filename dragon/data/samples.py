"""Sources with many images in a file: parquet files, folders of Hugging Face datasets, webdataset's tar shards."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dragon.data.datum import LABELS
from dragon.errors import DataError, nearest
from dragon.files.folders import walk

__all__ = ["Sample", "Samples", "label_of", "sample_files"]

_SHARD = re.compile(r"[-_.](\d+-of-)?\d+$")  # what follows the split in a file's name: train-00000-of-00004


@dataclass(frozen=True)
class Sample:
    """An encoded image with its label. where: what messages call it. content: None where it is in `file`, unread."""

    where: str
    name: str
    content: bytes | None
    label: int
    file: Path | None = None


@dataclass(frozen=True)
class Samples:
    """The samples of a source, in order. names: of the classes, empty where unknown. total: None where unknown."""

    samples: Iterator[Sample]
    names: list[str]
    total: int | None


def label_of(value: object, where: str) -> int:
    """A label as an int of 32 bits. Raises DataError."""
    try:
        label = int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        label = None
    if label is None or isinstance(value, float) or label not in LABELS:
        raise DataError(f"{where}: expected a whole number of 32 bits as label, got {str(value)[:60]!r}")
    return int(label)


def sample_files(source: str, endings: tuple[str, ...], split: str = "") -> list[Path]:
    """The files of a source with one of the endings, sorted: itself, or those in the folder and in folders below it.

    split: only those whose name, or whose folder's, begins with it; needed where there are several. Raises DataError.
    """
    root = Path(source)
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise DataError(f'"{source}" does not exist')
    found: dict[str, list[Path]] = {}
    for place, files in walk(root, lambda one: not one.startswith((".", "cache-"))):
        for file in files:
            if file.endswith(endings) and not file.startswith((".", "cache-")):
                found.setdefault(_split_of(root, Path(place, file)), []).append(Path(place, file))
    if not found:
        raise DataError(f'"{source}" has no file of these kinds: {", ".join(endings)}')
    if split and split not in found:
        raise DataError(f'"{source}" has no split "{split}"{nearest(split, found)}; it has {", ".join(sorted(found))}')
    if not split and len(found) > 1:
        raise DataError(f'"{source}" has several splits: choose one with --split: {", ".join(sorted(found))}')
    return found[split] if split else next(iter(found.values()))


def _split_of(root: Path, path: Path) -> str:
    """train-00000-of-00002.parquet and train/data-00000-of-00001.arrow belong to train."""
    stem = _SHARD.sub("", path.name.split(".")[0])
    if stem in ("data", "part", "shard", "") or stem.isdigit():
        return path.parent.name if path.parent != root else "all"
    return stem
