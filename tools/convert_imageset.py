"""`dragon convert-imageset`: writes image files and labels to an LMDB or LevelDB of Datums, as Caffe reads it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from dragon.counting import how_many
from dragon.data.class_folders import CLASSES, read_class_folders
from dragon.data.datum import LABELS
from dragon.data.lists import read_entries
from dragon.data.progress import Progress
from dragon.data.samples import Sample, Samples
from dragon.data.shards import TAR, read_shards
from dragon.data.tables import read_tables
from dragon.errors import DataError
from dragon.files.atomic import write_atomically
from dragon.files.folders import walk
from dragon.tools.common.json_output import json_option
from dragon.tools.common.logs import log
from dragon.tools.common.progress import progress_bar
from dragon.tools.common.stored_images import Storing, file_of, key_of, storing_options

__all__ = ["command", "read_list"]


@click.command("convert-imageset")
@click.argument("root", type=click.Path())
@click.argument("listfile", type=click.Path())
@click.argument("db", type=click.Path(), required=False)
@click.option("--folder", is_flag=True, help="ROOT has a folder for each class; there is no LISTFILE.")
@click.option("--samples", is_flag=True, help="ROOT is a parquet file, a Hugging Face dataset or tar shards.")
@click.option("--split", default="", metavar="NAME", help="Of --samples, where a folder has several, such as train.")
@click.option("--image-column", default="", metavar="NAME", help="Of --samples: the column, or ending, of images.")
@click.option("--label-column", default="", metavar="NAME", help="Of --samples: that of labels.")
@storing_options
@json_option
def command(
    root: str,
    listfile: str,
    db: str | None,
    folder: bool,
    samples: bool,
    split: str,
    image_column: str,
    label_column: str,
    storing: Storing,
) -> dict[str, Any]:
    """Write the images of LISTFILE, lines "path label" below ROOT, to the database folder DB, blue channel first.

    With --folder, of the folders of ROOT, one for each class: `convert-imageset --folder ROOT DB`. Labels are those of
    classes.txt in ROOT or beside it, else the folders' order by name; DB.classes.txt gets the names.

    With --samples, of a parquet file, of .tar shards as webdataset writes them, or of a folder with such files, as
    Hugging Face's datasets have it: `convert-imageset --samples ROOT DB`.

    \b
    Example:
    dragon convert-imageset images/ train.txt train_lmdb \\
      --resize-height 256 --resize-width 256 --shuffle
    """
    if folder or samples:
        if folder and samples:
            raise click.UsageError("give --folder or --samples, not both")
        if db is not None:
            raise click.UsageError(f"--{'folder' if folder else 'samples'} takes ROOT and DB, without a list")
        listfile, db = root, listfile
    if db is None:
        raise click.UsageError("Missing argument 'DB'.")
    for option, value in (("split", split), ("image-column", image_column), ("label-column", label_column)):
        if value and not samples:
            raise click.UsageError(f"--{option} is for --samples")
    names: list[str] = []
    if samples:
        if storing.seed is not None:
            raise click.UsageError("--shuffle is for lists and folders; a Data layer has data_param { shuffle: true }")
        found = _open_samples(root, split, image_column, label_column)
        names, source, total = found.names, found.samples, found.total
    else:
        click.Path(file_okay=False).convert(root, None, None)
        if folder:
            names, images = read_class_folders(root)
            entries = [(number, name, label) for number, (name, label) in enumerate(images, 1)]
        else:
            click.Path(dir_okay=False).convert(listfile, None, None)
            entries = read_list(listfile, os.path.join(root, ""))
        source, total = _listed(root, listfile, storing.ordered(entries)), len(entries)
    skipped: list[str] = []
    with progress_bar() as progress:
        count = storing.write(db, _records(source, total, storing, progress, skipped))
    if names:
        write_atomically(f"{db.rstrip('/')}.{CLASSES}", os.fsencode("".join(f"{name}\n" for name in names)))
    of = f" of {how_many(len(names), 'class')}" if names else ""
    click.echo(f"{db}: {how_many(count, 'image')}{of}" + (f", {len(skipped)} skipped" if skipped else ""))
    return {"db": db, "images": count, "skipped": len(skipped)}


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


def _open_samples(root: str, split: str, image: str, label: str) -> Samples:
    shards = root.endswith(TAR) or any(".tar" in name for _, names in walk(root) for name in names)
    return (read_shards if shards else read_tables)(root, split, image, label)


def _listed(root: str, listfile: str, entries: list[tuple[int, str, int]]) -> Iterator[Sample]:
    for number, name, label in entries:
        yield Sample(f"{listfile}:{number}: {name}", name, None, label, file_of(root, name))


def _records(
    samples: Iterable[Sample], total: int | None, storing: Storing, progress: Progress, skipped: list[str]
) -> Iterator[tuple[bytes, bytes]]:
    first: tuple[int, ...] | None = None
    for i, sample in enumerate(samples):
        try:
            stored = storing.image(sample.file or Path(sample.name), content=sample.content)
        except DataError as error:
            if not storing.skip:
                raise DataError(f"{sample.where}: {error}") from None
            log.warning("%s: %s, skipped", sample.where, error)
            skipped.append(sample.where)
            continue
        first = first or stored.shape
        if storing.check_size and stored.shape != first:
            raise DataError(f"{sample.where}: has shape {stored.shape}, the first image {first}")
        stored.datum.label = sample.label
        yield key_of(i, sample.name), stored.datum.SerializeToString(deterministic=True)
        progress("images", i + 1, total)
