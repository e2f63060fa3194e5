"""`dragon show-data`: draws records of a database into one picture, with labels and boxes."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from dragon.counting import how_many
from dragon.data import Color, decode_batch, open_source
from dragon.data.detection.geometry import BOX, DIFFICULT, LABEL, NONE
from dragon.data.detection.record import decode_annotated
from dragon.errors import DataError
from dragon.files.atomic import write_atomically
from dragon.files.pictures import picture_format
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import read_message
from dragon.tools.common.box_pictures import class_colour
from dragon.tools.common.json_output import json_option
from dragon.tools.common.numbers import Count
from dragon.tools.common.outputs import OutputFile, refuse_input

__all__ = ["command"]

_MOST = 400  # records in a picture
_SIDE = 128  # of an image in the picture; smaller ones are enlarged, larger ones shrunk
_LINE = 12  # pixels for the text below an image
_GAP = 4


@dataclass(frozen=True)
class Shown:
    """A record: image (C, H, W), its annotations (N, 7), and its label; None where boxes have labels."""

    image: NDArray[Any]
    rows: NDArray[Any]
    label: float | None


@click.command("show-data")
@click.argument("source", type=click.Path())
@click.argument("picture", type=OutputFile())
@click.option("--count", type=Count(1), default=24, show_default=True, help=f"Records to draw, at most {_MOST}.")
@click.option("--start", type=Count(0), default=0, help="The first of them.")
@click.option("--label-map-file", metavar="FILE", type=click.Path(), help="SSD's label map, for names.")
@click.option("--backend", type=click.Choice(["lmdb", "leveldb"]), default="lmdb", help="Kind of database.")
@json_option
def command(
    source: str, picture: str, count: int, start: int, label_map_file: str | None, backend: str
) -> dict[str, Any]:
    """Draw records of the database SOURCE into PICTURE, a PNG file.

    Datums are drawn with their labels, AnnotatedDatums with their boxes. The boxes of a class have one colour; those of
    difficult objects are thin.

    \b
    Example: dragon show-data data/shapes/shapes_test_lmdb out.png \\
      --label-map-file data/shapes/labelmap.prototxt
    """
    if count > _MOST:
        raise click.UsageError(f"--count is at most {_MOST}, got {count}")
    picture_format(picture, ("png",))
    names: dict[int, str] = {}
    if label_map_file:
        found = read_message(label_map_file, pb.LabelMap())
        names = {item.label: item.display_name or item.name for item in found.item}
    reader = open_source(source, pb.DataParameter.DB.Value(backend.upper()))
    try:
        total = len(reader)
        if start >= total:
            raise DataError(f'"{source}" has {how_many(total, "record")}, --start is {start}')
        reader.seek(start)
        records = reader.read(min(count, total - start))
    finally:
        reader.close()
    shown = [_read(record, f'"{source}": record {start + i}') for i, record in enumerate(records)]
    labels = Counter(int(row[LABEL]) for one in shown for row in one.rows)
    labels.update(int(one.label) for one in shown if one.label is not None)
    texts = _texts(labels, names)
    refuse_input(picture)
    write_atomically(picture, _sheet(shown, texts))
    counted = {texts[label]: labels[label] for label in sorted(labels)}
    boxes = sum(len(one.rows) for one in shown)
    click.echo(
        f"{picture}: {len(shown)} of {how_many(total, 'record')}" + (f", {how_many(boxes, 'box')}" if boxes else "")
    )
    click.echo("  " + ", ".join(f"{name} {number}" for name, number in counted.items()))
    return {"picture": picture, "records": len(shown), "total": total, "boxes": boxes, "labels": counted}


def _texts(labels: Iterable[int], names: Mapping[int, str]) -> dict[int, str]:
    """What stands for each label: its name, or its number without one; both where several labels have one name."""
    texts = {label: names.get(label) or str(label) for label in {*labels, *names}}
    while len(set(texts.values())) < len(texts):
        often = Counter(texts.values())
        texts = {label: text if often[text] == 1 else f"{text} ({label})" for label, text in texts.items()}
    return texts


def _read(record: bytes, name: str) -> Shown:
    """A record of either kind. Raises DataError."""
    if _is_annotated(record):
        found = decode_annotated(record, Color.AS_STORED, name)
        return Shown(
            found.image, NONE if found.rows is None else found.rows, found.label if found.rows is None else None
        )
    images, _ = decode_batch([record], name=lambda i: name)
    return Shown(images[0], NONE, pb.Datum.FromString(record).label)  # whose number may have more digits than a float's


def _is_annotated(record: bytes) -> bool:
    try:
        return bool(pb.AnnotatedDatum.FromString(record).HasField("datum"))
    except Exception:  # what a Datum's bytes mean as another message is anything
        return False


def _sheet(shown: list[Shown], texts: Mapping[int, str]) -> bytes:
    from PIL import Image

    columns = min(len(shown), max(1, round((2 * len(shown)) ** 0.5)))
    rows = -(-len(shown) // columns)
    cell = _SIDE + _GAP
    sheet = Image.new("RGB", (columns * cell + _GAP, rows * (cell + _LINE) + _GAP), (40, 40, 40))
    for i, one in enumerate(shown):
        tile = _tile(one, texts)
        sheet.paste(tile, (_GAP + i % columns * cell, _GAP + i // columns * (cell + _LINE)))
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()


def _tile(one: Shown, texts: Mapping[int, str]) -> Any:
    from PIL import Image, ImageDraw

    _, height, width = one.image.shape
    factor = _SIDE / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    tile = Image.new("RGB", (_SIDE, _SIDE + _LINE), (40, 40, 40))
    way = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BILINEAR
    tile.paste(Image.fromarray(_colours(one.image)).resize(size, way), (0, 0))
    draw = ImageDraw.Draw(tile)
    caption = [] if one.label is None else [texts[int(one.label)]]
    for row in one.rows:
        label = int(row[LABEL])
        left, top, right, bottom = (row[BOX] * np.tile(size, 2)).tolist()
        corners = (left, top, max(left, right - 1), max(top, bottom - 1))
        draw.rectangle(corners, outline=class_colour(label), width=1 if row[DIFFICULT] else 2)
        caption.append(texts[label])
    draw.text((0, _SIDE), " ".join(dict.fromkeys(caption))[:22], fill=(255, 255, 255))
    return tile


def _colours(image: NDArray[Any]) -> NDArray[np.uint8]:
    """The image as (H, W, 3) red first; other numbers of channels are shown by their mean, floats by their range."""
    values = image.astype(np.float64)
    if image.dtype != np.uint8:
        finite = np.isfinite(values)
        low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0, 0)
        values = np.where(finite, values - low, 0) * (255 / (high - low) if high > low else 1)
    if len(values) not in (3, 4):
        values = np.repeat(values.mean(axis=0, keepdims=True), 3, axis=0)
    made: NDArray[np.uint8] = np.clip(np.rint(values[2::-1]), 0, 255).astype(np.uint8).transpose(1, 2, 0)
    return np.ascontiguousarray(made)
