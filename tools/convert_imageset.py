"""`dragon convert-imageset`: writes image files and labels to an LMDB or LevelDB of Datums, as Caffe reads it."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from dragon.data import Color, decode_image, encode_datum, write_leveldb, write_lmdb
from dragon.data.class_folders import CLASSES, read_class_folders
from dragon.data.datum import LABELS
from dragon.data.image_file import encode_image, image_content
from dragon.data.lists import read_entries
from dragon.data.progress import Progress
from dragon.errors import DataError
from dragon.files.atomic import write_atomically
from dragon.proto import dragon_pb2 as pb
from dragon.pycaffe.io import resize_image
from dragon.tools.common.json_output import json_option
from dragon.tools.common.logs import log
from dragon.tools.common.numbers import Count
from dragon.tools.common.progress import progress_bar

__all__ = ["command", "read_list"]


@dataclass
class Conversion:
    """How each image becomes a record."""

    gray: bool
    size: tuple[int, int]  # height and width to resize to; 0 keeps the size
    encoded: str  # "" for pixels, "png", "jpg", or "as it is" for the format of the file
    check_size: bool
    skip: bool


@click.command("convert-imageset")
@click.argument("root", type=click.Path(file_okay=False))
@click.argument("listfile", type=click.Path())
@click.argument("db", type=click.Path(), required=False)
@click.option("--folder", is_flag=True, help="ROOT has a folder for each class; there is no LISTFILE.")
@click.option("--gray", is_flag=True, help="Store one channel.")
@click.option("--resize-height", type=Count(0), default=0, help="Resize to this height.")
@click.option("--resize-width", type=Count(0), default=0, help="Resize to this width.")
@click.option("--shuffle", is_flag=True, help="Shuffle the list, by --seed.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of --shuffle.")
@click.option("--encoded", is_flag=True, help="Store image files instead of pixels.")
@click.option("--encode-type", default="", help="Format of stored files: png or jpg; as they are if that is possible.")
@click.option("--check-size", is_flag=True, help="Refuse images of another size than the first.")
@click.option("--skip-unreadable", is_flag=True, help="Warn and go on when an image cannot be read.")
@click.option("--backend", type=click.Choice(["lmdb", "leveldb"]), default="lmdb", help="Kind of database.")
@json_option
def command(
    root: str,
    listfile: str,
    db: str | None,
    folder: bool,
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
) -> dict[str, Any]:
    """Write the images of LISTFILE, lines "path label" below ROOT, to the database folder DB, blue channel first.

    With --folder, of the folders of ROOT, one for each class: `convert-imageset --folder ROOT DB`. Labels are those of
    classes.txt in ROOT or beside it, else the folders' order by name; DB.classes.txt gets the names.

    \b
    Example:
    dragon convert-imageset images/ train.txt train_lmdb \\
      --resize-height 256 --resize-width 256 --shuffle
    """
    if bool(resize_height) != bool(resize_width):
        raise click.UsageError("give both --resize-height and --resize-width, or neither")
    if encode_type and encode_type.lower() not in ("png", "jpg", "jpeg"):
        raise click.UsageError(f'--encode-type is png or jpg, got "{encode_type}"')
    names: list[str] = []
    if folder:
        if db is not None:
            raise click.UsageError("--folder takes ROOT and DB, without a list")
        listfile, db = root, listfile
        names, images = read_class_folders(root)
        entries = [(number, name, label) for number, (name, label) in enumerate(images, 1)]
    else:
        if db is None:
            raise click.UsageError("Missing argument 'DB'.")
        click.Path(dir_okay=False).convert(listfile, None, None)
        entries = read_list(listfile, os.path.join(root, ""))
    if shuffle:
        random.Random(seed).shuffle(entries)
    how = Conversion(
        gray, (resize_height, resize_width), (encode_type.lower() or "as it is") if encoded or encode_type else "",
        check_size, skip_unreadable,
    )  # fmt: skip
    with progress_bar() as progress:
        write = write_leveldb if backend == "leveldb" else write_lmdb
        count = write(db, _records(root, listfile, entries, how, progress))
    if names:
        write_atomically(f"{db.rstrip('/')}.{CLASSES}", os.fsencode("".join(f"{name}\n" for name in names)))
    of = f" of {len(names)} classes" if names else ""
    click.echo(f"{db}: {count} images{of}" + (f", {len(entries) - count} skipped" if count < len(entries) else ""))
    return {"db": db, "images": count, "skipped": len(entries) - count}


def read_list(path: str, root: str = "") -> list[tuple[int, str, int]]:
    """(line number, file name, label) of each line "path label", see `dragon.data.lists`.

    Raises DataError, with the line number, for a label that is not an integer of 32 bits.
    """
    wanted = '"path label" with a whole number as label'
    entries = read_entries(path, "image list", root, wanted)
    for number, name, label in entries:
        if label != int(label):
            raise DataError(f'{path}:{number}: expected {wanted}, got "{name} {label:g}"')
        if int(label) not in LABELS:
            raise DataError(f"{path}:{number}: label {int(label)} is out of range, {LABELS[0]} to {LABELS[-1]}")
    return [(number, name, int(label)) for number, name, label in entries]


def _records(
    root: str, listfile: str, entries: list[tuple[int, str, int]], how: Conversion, progress: Progress
) -> Iterator[tuple[bytes, bytes]]:
    first: tuple[int, ...] | None = None
    for i, (number, name, label) in enumerate(entries):
        where = f"{listfile}:{number}: {name}"
        try:
            record, shape = _record(_image(root, name), label, how)
        except DataError as error:
            if not how.skip:
                raise DataError(f"{where}: {error}") from None
            log.warning("%s: %s, skipped", where, error)
            continue
        first = first or shape
        if how.check_size and shape != first:
            raise DataError(f"{where}: has shape {shape}, the first image {first}")
        yield os.fsencode(f"{i:08d}_{name}")[:500], record  # LMDB takes keys of up to 511 bytes
        progress("images", i + 1, len(entries))


def _image(root: str, name: str) -> Path:
    """The file of an entry: root and name concatenated, as in Caffe, if that exists, else the name in folder root."""
    concatenated = root + name
    return Path(concatenated) if os.path.isfile(concatenated) else Path(root) / name


def _record(path: Path, label: int, how: Conversion) -> tuple[bytes, tuple[int, ...]]:
    try:
        content = image_content(path)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}") from None
    pixels = decode_image(content, Color.GRAY if how.gray else Color.COLOR)
    if all(how.size):
        pixels = _resized(pixels, how.size)
    if not how.encoded:
        return encode_datum(pixels, label), pixels.shape
    suffix = path.suffix.lower().lstrip(".").replace("jpeg", "jpg")
    wanted = how.encoded.replace("jpeg", "jpg")
    untouched = not how.gray and not all(how.size)
    if not (untouched and wanted in ("as it is", suffix)):
        content = encode_image(pixels, wanted if wanted != "as it is" else suffix)
    channels, height, width = pixels.shape
    datum = pb.Datum(channels=channels, height=height, width=width, label=label, data=content, encoded=True)
    serialised: bytes = datum.SerializeToString(deterministic=True)
    return serialised, pixels.shape


def _resized(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    image = resize_image(pixels.transpose(1, 2, 0), size)
    return np.ascontiguousarray(np.clip(np.rint(image), 0, 255).astype(np.uint8).transpose(2, 0, 1))
