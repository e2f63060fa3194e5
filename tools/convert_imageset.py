"""`dragon convert-imageset`: writes image files and labels to an LMDB or LevelDB of Datums, as Caffe reads it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import click

from dragon.data.class_folders import CLASSES, read_class_folders
from dragon.data.datum import LABELS
from dragon.data.lists import read_entries
from dragon.data.progress import Progress
from dragon.errors import DataError
from dragon.files.atomic import write_atomically
from dragon.tools.common.json_output import json_option
from dragon.tools.common.logs import log
from dragon.tools.common.progress import progress_bar
from dragon.tools.common.stored_images import Storing, file_of, key_of, storing_options

__all__ = ["command", "read_list"]


@click.command("convert-imageset")
@click.argument("root", type=click.Path(file_okay=False))
@click.argument("listfile", type=click.Path())
@click.argument("db", type=click.Path(), required=False)
@click.option("--folder", is_flag=True, help="ROOT has a folder for each class; there is no LISTFILE.")
@storing_options
@json_option
def command(root: str, listfile: str, db: str | None, folder: bool, storing: Storing) -> dict[str, Any]:
    """Write the images of LISTFILE, lines "path label" below ROOT, to the database folder DB, blue channel first.

    With --folder, of the folders of ROOT, one for each class: `convert-imageset --folder ROOT DB`. Labels are those of
    classes.txt in ROOT or beside it, else the folders' order by name; DB.classes.txt gets the names.

    \b
    Example:
    dragon convert-imageset images/ train.txt train_lmdb \\
      --resize-height 256 --resize-width 256 --shuffle
    """
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
    entries = storing.ordered(entries)
    with progress_bar() as progress:
        count = storing.write(db, _records(root, listfile, entries, storing, progress))
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
    root: str, listfile: str, entries: list[tuple[int, str, int]], storing: Storing, progress: Progress
) -> Iterator[tuple[bytes, bytes]]:
    first: tuple[int, ...] | None = None
    for i, (number, name, label) in enumerate(entries):
        where = f"{listfile}:{number}: {name}"
        try:
            stored = storing.image(file_of(root, name))
        except DataError as error:
            if not storing.skip:
                raise DataError(f"{where}: {error}") from None
            log.warning("%s: %s, skipped", where, error)
            continue
        first = first or stored.shape
        if storing.check_size and stored.shape != first:
            raise DataError(f"{where}: has shape {stored.shape}, the first image {first}")
        stored.datum.label = label
        yield key_of(i, name), stored.datum.SerializeToString(deterministic=True)
        progress("images", i + 1, len(entries))
