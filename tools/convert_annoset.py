"""`dragon convert-annoset`: writes images with boxes to an LMDB or LevelDB of AnnotatedDatums, as SSD reads it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import click
from google.protobuf import text_format

from dragon.counting import how_many
from dragon.data.detection.annotations import Described, labels_by_name, rows_of
from dragon.data.detection.record import encode_annotated
from dragon.data.detection.sources import READ, Entry, from_coco, from_list, from_voc
from dragon.data.progress import Progress
from dragon.errors import DataError
from dragon.files.atomic import write_atomically
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import read_message
from dragon.tools.common.json_output import json_option
from dragon.tools.common.logs import log
from dragon.tools.common.numbers import Count
from dragon.tools.common.outputs import OutputFile, refuse_input
from dragon.tools.common.progress import progress_bar
from dragon.tools.common.stored_images import Stored, Storing, file_of, key_of, storing_options
from dragon.tools.convert_imageset import read_list

__all__ = ["command"]


@dataclass(frozen=True)
class Source:
    """Flags that say where annotations come from."""

    voc: str | None
    split: str | None
    coco: str | None
    classification: bool
    label_type: str


@dataclass
class Job:
    """What is converted, and what was found on the way. labels: of the names in annotations."""

    root: str
    storing: Storing
    limits: tuple[int, int]
    labels: dict[str, int]
    sizes: list[str] = field(default_factory=list)
    boxes: int = 0


@click.command("convert-annoset")
@click.argument("places", metavar="[ROOT LISTFILE] DB", nargs=-1, required=True, type=click.Path())
@click.option("--voc", metavar="FOLDER", type=click.Path(), help="Convert a folder of VOC; no ROOT and LISTFILE.")
@click.option("--split", metavar="NAME", help="With --voc: ImageSets/Main/NAME.txt, such as trainval.")
@click.option("--coco", metavar="FILE", type=click.Path(), help="Convert COCO's instances; ROOT has their images.")
@click.option(
    "--anno-type", type=click.Choice(["detection", "classification"]), default="detection",
    help="classification: lines have a label, as for convert-imageset.",
)  # fmt: skip
@click.option("--label-type", type=click.Choice([*READ]), default="xml", help="Form of the annotations of a list.")
@click.option("--label-map-file", metavar="FILE", type=click.Path(), help="Label map, names with their labels.")
@click.option("--check-label", is_flag=True, help="Refuse a label map in which a name or a label comes twice.")
@click.option("--min-dim", type=Count(0), default=0, help="Scale images up to this small side.")
@click.option("--max-dim", type=Count(0), default=0, help="Scale images down to this large side.")
@click.option("--name-size", metavar="FILE", type=OutputFile(), help='Write lines "name height width" for evaluation.')
@storing_options
@json_option
def command(
    places: tuple[str, ...],
    voc: str | None,
    split: str | None,
    coco: str | None,
    anno_type: str,
    label_type: str,
    label_map_file: str | None,
    check_label: bool,
    min_dim: int,
    max_dim: int,
    name_size: str | None,
    storing: Storing,
) -> dict[str, Any]:
    """Write images with boxes to the database folder DB, as the layer type AnnotatedData reads them.

    LISTFILE has lines "image annotations", files below ROOT; the annotations are XML as of VOC, JSON of one image as
    SSD's scripts make it from COCO, or lines "label xmin ymin xmax ymax". XML and JSON need --label-map-file.

    With --voc and --coco annotations are read as they were published. Without a label map the classes get the labels
    from 1 on, of VOC by name and of COCO by id, and the map is written to DB.labelmap.prototxt; 0 is the background.

    \b
    Example: dragon convert-annoset data/VOCdevkit/ trainval.txt lmdb \\
      --label-map-file labelmap_voc.prototxt --encoded
      dragon convert-annoset --voc VOC2007 --split test test_lmdb
      dragon convert-annoset --coco instances_val2017.json val2017/ db
    """
    given = read_message(label_map_file, pb.LabelMap()) if label_map_file else None
    if check_label and given is not None:
        labels_by_name(given, check=True)
    if (min_dim or max_dim) and any(storing.size):
        raise click.UsageError("give --min-dim and --max-dim, or --resize-height and --resize-width")
    source = Source(voc, split, coco, anno_type == "classification", label_type)
    root, db, entries, label_map = _entries(places, source, given)
    job = Job(root, storing, (min_dim, max_dim), labels_by_name(label_map))
    entries = storing.ordered(entries)
    if name_size:
        refuse_input(name_size)
    with progress_bar() as progress:
        count = storing.write(db, _records(entries, job, progress))
    if given is None and label_map.item:
        write_atomically(f"{db.rstrip('/')}.labelmap.prototxt", text_format.MessageToString(label_map).encode())
    if name_size:
        write_atomically(name_size, "".join(f"{line}\n" for line in job.sizes).encode())
    skipped = len(entries) - count
    boxes = "" if source.classification else f", {how_many(job.boxes, 'box')}"
    click.echo(f"{db}: {how_many(count, 'image')}{boxes}" + (f", {skipped} skipped" if skipped else ""))
    return {"db": db, "images": count, "boxes": job.boxes, "skipped": skipped}


def _entries(
    places: tuple[str, ...], source: Source, given: pb.LabelMap | None
) -> tuple[str, str, list[Entry], pb.LabelMap]:
    """The root of the images, the database, the entries, and the label map to read them by."""
    if source.voc is not None and source.coco is not None:
        raise click.UsageError("give --voc or --coco")
    if source.split is not None and source.voc is None:
        raise click.UsageError("--split is for --voc")
    if source.voc is not None:
        (db,) = _places(places, "DB", "--voc")
        if source.split is None:
            raise click.UsageError("--voc needs --split, such as trainval")
        entries, label_map = from_voc(source.voc, source.split)
        return source.voc, db, entries, given or label_map
    if source.coco is not None:
        root, db = _places(places, "ROOT DB", "--coco")
        return root, db, *from_coco(source.coco, given)
    root, listed, db = _places(places, "ROOT LISTFILE DB", "a list")
    if source.classification:
        entries = [
            Entry(n, f"{listed}:{k}", "", Described, label=y) for k, n, y in read_list(listed, os.path.join(root, ""))
        ]
        return root, db, entries, pb.LabelMap()
    if given is None and source.label_type != "txt":
        raise click.UsageError(f"annotations of type {source.label_type} name their classes: give --label-map-file")
    return root, db, from_list(listed, root, source.label_type), given or pb.LabelMap()


def _places(places: tuple[str, ...], wanted: str, what: str) -> tuple[str, ...]:
    if len(places) != len(wanted.split()):
        raise click.UsageError(f"{what} takes the arguments {wanted}, got {len(places)}")
    return places


def _records(entries: list[Entry], job: Job, progress: Progress) -> Iterator[tuple[bytes, bytes]]:
    first: tuple[int, ...] | None = None
    for i, entry in enumerate(entries):
        where = f"{entry.where}: {entry.name}"
        try:
            stored = job.storing.image(file_of(job.root, entry.name), job.limits)
        except DataError as error:
            if not job.storing.skip:
                raise DataError(f"{where}: {error}") from None
            log.warning("%s: %s, skipped", where, error)
            continue
        first = first or stored.shape
        if job.storing.check_size and stored.shape != first:
            raise DataError(f"{where}: has shape {stored.shape}, the first image {first}")
        height, width = stored.original
        job.sizes.append(f"{entry.id or os.path.splitext(os.path.basename(entry.name))[0]} {height} {width}")
        yield key_of(i, entry.name), _record(entry, stored, job)
        progress("images", i + 1, len(entries))


def _record(entry: Entry, stored: Stored, job: Job) -> bytes:
    """The record of an image; that of the fork, which stores `encoded` also where it is false."""
    datum = stored.datum
    datum.encoded = datum.encoded
    if entry.label is not None:
        datum.label = entry.label
        serialised: bytes = pb.AnnotatedDatum(datum=datum).SerializeToString(deterministic=True)
        return serialised
    datum.label = -1
    described = entry.read()
    height, width = stored.original
    said = (described.width or width, described.height or height)
    if said != (width, height):
        log.warning(
            "%s: says %d x %d pixels, %s has %d x %d: boxes are divided by what it says",
            entry.file, *said, entry.name, width, height,
        )  # fmt: skip
    if any(min(one.box) < 0 or one.box[2] > said[0] or one.box[3] > said[1] for one in described.objects):
        log.warning("%s: has a box that reaches beyond %d x %d pixels", entry.file, *said)
    rows = rows_of(described, job.labels, said, entry.file)
    job.boxes += len(rows)
    return encode_annotated(datum, rows)
