"""How convert-imageset and convert-annoset store images in a database: their flags, and the Datum of an image file."""

from __future__ import annotations

import functools
import os
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from dragon.data import Color, decode_image, write_leveldb, write_lmdb
from dragon.data.image_file import encode_image, image_content
from dragon.data.resize import resize_bilinear
from dragon.errors import DataError
from dragon.proto import dragon_pb2 as pb
from dragon.tools.common.numbers import Count

__all__ = ["Stored", "Storing", "file_of", "key_of", "storing_options"]

_QUALITY = 95  # of JPEGs, as OpenCV encodes them for Caffe

T = TypeVar("T")


@dataclass(frozen=True)
class Stored:
    """An image as it is stored, without a label. shape: (C, H, W); original: height and width of the file."""

    datum: pb.Datum
    shape: tuple[int, ...]
    original: tuple[int, int]


@dataclass(frozen=True)
class Storing:
    """Values of the flags."""

    gray: bool
    size: tuple[int, int]  # height and width to resize to; 0 keeps the size
    seed: int | None  # to shuffle by; None leaves the order
    encoded: str  # "" for pixels, "png", "jpg", or "as it is" for the format of the file
    check_size: bool
    skip: bool
    backend: str

    def ordered(self, entries: list[T]) -> list[T]:
        """The entries, shuffled with --shuffle."""
        if self.seed is not None:
            random.Random(self.seed).shuffle(entries)
        return entries

    def write(self, db: str, records: Iterable[tuple[bytes, bytes]]) -> int:
        """Write the database; returns the number of records. Raises DataError, also where all images were skipped."""
        return (write_leveldb if self.backend == "leveldb" else write_lmdb)(db, _some(db, records))

    def image(self, path: Path, limits: tuple[int, int] = (0, 0), content: bytes | None = None) -> Stored:
        """Read an image file. Raises DataError.

        content: its bytes, where they are known already. limits: least size of the small side and largest of the large
        side, which images are scaled to; 0 for none.
        """
        try:
            content = image_content(path) if content is None else content
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror}") from None
        pixels = decode_image(content, Color.GRAY if self.gray else Color.COLOR)
        original = (pixels.shape[1], pixels.shape[2])
        size = _within(original, *limits) if any(limits) else self.size if all(self.size) else original
        if size != original:
            pixels = resize_bilinear(pixels, *size)
        channels, height, width = pixels.shape
        if not self.encoded:
            datum = pb.Datum(channels=channels, height=height, width=width, data=pixels.tobytes())
            return Stored(datum, pixels.shape, original)
        suffix = path.suffix.lower().lstrip(".").replace("jpeg", "jpg")
        wanted = self.encoded.replace("jpeg", "jpg")
        untouched = not self.gray and not any(limits) and not all(self.size)
        if not (untouched and wanted in ("as it is", suffix)):
            content = encode_image(pixels, wanted if wanted != "as it is" else suffix, _QUALITY)
        datum = pb.Datum(channels=channels, height=height, width=width, data=content, encoded=True)
        return Stored(datum, pixels.shape, original)


def file_of(root: str, name: str) -> Path:
    """The file of an entry: root and name concatenated, as in Caffe, if that exists, else the name in folder root."""
    concatenated = root + name
    return Path(concatenated) if os.path.isfile(concatenated) else Path(root) / name


def key_of(number: int, name: str) -> bytes:
    """The key of a record: its number, and the name of its image as far as LMDB takes it."""
    return os.fsencode(f"{number:08d}_{name}")[:500]


def storing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The flags, as one argument `storing` of the command. Raises click.UsageError for flags that contradict."""

    @click.option("--gray", is_flag=True, help="Store one channel.")
    @click.option("--resize-height", type=Count(0), default=0, help="Resize to this height.")
    @click.option("--resize-width", type=Count(0), default=0, help="Resize to this width.")
    @click.option("--shuffle", is_flag=True, help="Shuffle the list, by --seed.")
    @click.option("--seed", type=int, default=1, show_default=True, help="Of --shuffle.")
    @click.option("--encoded", is_flag=True, help="Store image files instead of pixels.")
    @click.option(
        "--encode-type", default="", help="Format of stored files: png or jpg; as they are if that is possible."
    )
    @click.option("--check-size", is_flag=True, help="Refuse images of another size than the first.")
    @click.option("--skip-unreadable", is_flag=True, help="Warn and go on when an image cannot be read.")
    @click.option("--backend", type=click.Choice(["lmdb", "leveldb"]), default="lmdb", help="Kind of database.")
    @functools.wraps(command)
    def wrapped(
        *args: Any,
        gray: bool,
        resize_height: int,
        resize_width: int,
        shuffle: bool,
        seed: int,
        encoded: bool,
        encode_type: str,
        check_size: bool,
        skip_unreadable: bool,
        backend: str,
        **options: Any,
    ) -> Any:
        if bool(resize_height) != bool(resize_width):
            raise click.UsageError("give both --resize-height and --resize-width, or neither")
        if encode_type and encode_type.lower() not in ("png", "jpg", "jpeg"):
            raise click.UsageError(f'--encode-type is png or jpg, got "{encode_type}"')
        kind = (encode_type.lower() or "as it is") if encoded or encode_type else ""
        size = (resize_height, resize_width)
        storing = Storing(gray, size, seed if shuffle else None, kind, check_size, skip_unreadable, backend)
        return command(*args, storing=storing, **options)

    return wrapped


def _some(db: str, records: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    found = False
    for record in records:
        found = True
        yield record
    if not found:
        raise DataError(f'no image could be read, so there is no database "{db}"')


def _within(size: tuple[int, int], least: int, most: int) -> tuple[int, int]:
    """Height and width, scaled up to a small side of `least`, and down to a large side of `most`; 0 for no limit."""
    factor = 1.0
    if 0 < min(size) < least:
        factor = least / min(size)
    if 0 < most < int(factor * max(size)):
        factor = most / max(size)
    height, width = (max(1, round(side * factor)) for side in size)
    return height, width
