"""A dataset folder: LMDBs, the mean image and `dataset.json`, which describes the data.

cifar10/dataset.json  cifar10_train_lmdb/  cifar10_test_lmdb/  mean.binaryproto

A set with validation images has PREFIX_val_lmdb as well. `dataset.json` also has the digest of each LMDB.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.counting import how_many
from dragon.data.datum import decode_batch, encode_datum
from dragon.data.digest import DESCRIPTION, DIGESTS, recorded_digests, records_digest
from dragon.data.lmdb_io import LmdbReader, write_lmdb
from dragon.data.mean import mean_of_images, read_mean, write_mean
from dragon.data.progress import Progress, silent
from dragon.errors import DataError, one_line
from dragon.files.atomic import write_atomically
from dragon.files.folders import make_folder
from dragon.files.reading import read_text

__all__ = ["Dataset", "Kind", "Split", "dataset_label", "difference", "open_dataset", "read_split", "write_dataset"]

_MEAN = "mean.binaryproto"
_UNKNOWN = "unlabelled data"
_MAX_LABEL = 100
_CHUNK = 1000


@dataclass(frozen=True)
class Kind:
    """The description of a dataset.

    label: its name in output. prefix: of its folders. train, test, val: numbers of images of `shape` (C, H, W);
    val 0: no validation part. key_digits: of the keys in the LMDBs. facts: further entries of dataset.json.
    """

    label: str
    prefix: str
    train: int
    test: int
    shape: tuple[int, int, int]
    key_digits: int = 5
    facts: dict[str, Any] = field(default_factory=dict)
    val: int = 0

    @property
    def parts(self) -> dict[str, int]:
        """The number of images of each part, by its name in the folder of its LMDB, in the order of writing."""
        return {"train": self.train, "test": self.test, **({"val": self.val} if self.val else {})}

    def description(self) -> dict[str, Any]:
        """The content of `dataset.json` without digests; folders with equal descriptions have equal records."""
        return {"label": self.label, **self.parts, "shape": list(self.shape), **self.facts}


@dataclass(frozen=True)
class Split:
    """Images (N, C, H, W) uint8 and labels (N,) uint8, in the order of their records."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def digest(self) -> str:
        """SHA-256 over label and image bytes of each record, as hexadecimal digits."""
        total = hashlib.sha256()
        for start in range(0, len(self.labels), _CHUNK):
            part = slice(start, start + _CHUNK)
            pixels = self.images[part].reshape(len(self.labels[part]), -1)
            total.update(np.concatenate([self.labels[part, None], pixels], axis=1).tobytes())
        return total.hexdigest()


@dataclass(frozen=True)
class Dataset:
    """A complete dataset folder; `written` names the parts that this call wrote, the others existed.

    val, val_count: the validation images; None and 0 for a set without.
    """

    label: str
    folder: Path
    train: Path
    test: Path
    mean: Path
    train_count: int
    test_count: int
    written: tuple[str, ...]
    kind: Kind
    val: Path | None = None
    val_count: int = 0


def open_dataset(folder: str | os.PathLike[str], kind: Kind) -> Dataset | None:
    """The dataset in `folder`; None if it is not complete. Raises DataError if the folder has another dataset."""
    root = Path(folder)
    if not root.exists() or _missing(root, kind):
        return None
    return _dataset(root, kind, ())


def write_dataset(
    folder: str | os.PathLike[str],
    kind: Kind,
    load: Callable[[], tuple[Split, ...]],
    progress: Progress = silent,
) -> Dataset:
    """Write the missing parts of the dataset in `folder`, each atomically.

    load: returns all parts, in the order of `kind.parts`. Existing parts are kept if they have the right number of
    records. Raises DataError.
    """
    root = Path(folder)
    paths = _lmdbs(root, kind)
    mean = root / _MEAN
    try:
        make_folder(root)
        missing = _missing(root, kind)
        digests = recorded_digests(root)
        if missing == (_MEAN,):
            write_mean(mean, mean_of_images(read_split(paths[0]).images))
        elif missing:
            splits = load()
            # the description first, so that no record can be read without its label
            digests = {name: digest for name, digest in digests.items() if name not in missing}
            _write_description(root, kind, digests)
            for path, split in zip(paths, splits, strict=True):
                if path.name in missing:
                    _write_split(path, split, kind, progress)
            if _MEAN in missing:
                write_mean(mean, mean_of_images(splits[0].images))
        if missing and set(digests) != {path.name for path in paths}:
            _write_description(
                root, kind, {path.name: digests.get(path.name) or records_digest(path) for path in paths}
            )
    except OSError as error:
        raise DataError(f'dataset folder "{root}" cannot be written: {error.strerror or error}') from None
    return _dataset(root, kind, missing)


def dataset_label(source: str | os.PathLike[str]) -> str:
    """The label of the dataset that an LMDB belongs to, for output: "CIFAR-10", "synthetic", "unlabelled data"."""
    path = Path(source)
    for folder in (path, path.parent):
        try:
            label = json.loads(read_text(folder / DESCRIPTION))["label"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
        return one_line(str(label))[:_MAX_LABEL]
    return "synthetic" if path.name.startswith("synthetic_") else _UNKNOWN


def _lmdbs(root: Path, kind: Kind) -> list[Path]:
    return [root / f"{kind.prefix}_{part}_lmdb" for part in kind.parts]


def _dataset(root: Path, kind: Kind, written: tuple[str, ...]) -> Dataset:
    train, test, *val = _lmdbs(root, kind)
    mean = root / _MEAN
    held = val[0] if val else None
    return Dataset(kind.label, root, train, test, mean, kind.train, kind.test, written, kind, held, kind.val)


def _write_description(root: Path, kind: Kind, digests: Mapping[str, str]) -> None:
    content = {**kind.description(), DIGESTS: dict(digests)}
    write_atomically(root / DESCRIPTION, json.dumps(content, indent=2).encode() + b"\n")


def _missing(root: Path, kind: Kind) -> tuple[str, ...]:
    """Names of the parts to write. Raises DataError for an existing part that is not as described."""
    description = root / DESCRIPTION
    if description.exists():
        try:
            found = json.loads(read_text(description))
        except (OSError, ValueError, RecursionError):
            raise DataError(f'"{description}" is damaged: remove the folder and run again') from None
        if isinstance(found, dict):
            found.pop(DIGESTS, None)  # sets of earlier versions have none
        if found != kind.description():
            raise DataError(
                f'"{root}" holds another dataset: {difference(found, kind.description())}; '
                "choose another folder with --dir, or remove it"
            )
    paths, mean = _lmdbs(root, kind), root / _MEAN
    for path, count in zip(paths, kind.parts.values(), strict=True):
        if path.exists():
            with LmdbReader(path) as reader:
                if len(reader) != count:
                    raise DataError(
                        f'"{path}" holds {how_many(len(reader), "record")}, expected {count}: remove it and run again'
                    )
    if mean.exists() and read_mean(mean).shape != kind.shape:
        raise DataError(f'"{mean}" has shape {read_mean(mean).shape}, expected {kind.shape}: remove it')
    return tuple(path.name for path in [*paths, mean] if not path.exists())


def difference(found: Any, wanted: Mapping[str, Any]) -> str:
    """How a description differs from the wanted one, in words."""
    if not isinstance(found, dict):
        return "its description cannot be read"
    words = []
    for name in dict.fromkeys((*wanted, *found)):
        there, asked = found.get(name, "none"), wanted.get(name, "none")
        if there != asked:
            short = not isinstance(there, (list, dict)) and not isinstance(asked, (list, dict))
            words.append(f"{name} {there} there, {asked} wanted" if short else f"other {name}")
    return ", ".join(words)


def _write_split(path: Path, split: Split, kind: Kind, progress: Progress) -> None:
    total = len(split.labels)

    def records() -> Iterator[tuple[bytes, bytes]]:
        for i in range(total):
            if i % _CHUNK == 0:
                progress(path.name, i, total)
            yield f"{i:0{kind.key_digits}d}".encode(), encode_datum(split.images[i], int(split.labels[i]))

    def check(written: Path) -> None:
        if read_split(written).digest() != split.digest():
            raise DataError(f'"{path}" cannot be written: what was read back differs')

    write_lmdb(path, records(), check)
    progress(path.name, total, total)


def read_split(path: str | os.PathLike[str]) -> Split:
    """All records of an LMDB of uint8 images of one shape. Raises DataError."""
    with LmdbReader(path) as reader:
        images, labels = decode_batch(reader.read(len(reader)), name=f'"{path}": record {{}}'.format)
    if isinstance(images, list):
        raise DataError(f'"{path}" has images of different shapes')
    return Split(images, labels.astype(np.uint8))
