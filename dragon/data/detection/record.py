"""AnnotatedDatum records of SSD's fork: an image, as in a Datum, with its annotations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from dragon.counting import how_many
from dragon.data.datum import image_of
from dragon.data.detection.geometry import BOX, DIFFICULT, INSTANCE, LABEL, NONE
from dragon.data.image_file import Color
from dragon.errors import DataError
from dragon.proto import dragon_pb2 as pb

__all__ = ["Annotated", "decode_annotated", "encode_annotated", "number_instances"]


@dataclass(frozen=True)
class Annotated:
    """The content of a record.

    image: (C, H, W) uint8. rows: annotations (N, 7), see `dragon.data.detection.geometry`; None in a record without
    type, which has only a label. label: that of its Datum.
    """

    image: NDArray[Any]
    rows: NDArray[Any] | None
    label: int


def decode_annotated(record: bytes, color: Color, name: str) -> Annotated:
    """The content of a serialised AnnotatedDatum. name: of the record, for messages. Raises DataError."""
    try:
        found = pb.AnnotatedDatum.FromString(record)
    except DecodeError:
        raise DataError(
            f"{name} is not an AnnotatedDatum ({how_many(len(record), 'byte')}, which cannot be parsed)"
        ) from None
    if not found.HasField("datum"):
        raise DataError(f"{name} is not an AnnotatedDatum: it has no image; the layer type Data reads plain Datums")
    image = image_of(found.datum, color, lambda i: name)
    if image.dtype != np.uint8:
        raise DataError(f"{name} has an image of floats, expected 8 bits")
    rows = [
        (
            group.group_label, one.instance_id, one.bbox.xmin, one.bbox.ymin, one.bbox.xmax, one.bbox.ymax,
            one.bbox.difficult,
        )
        for group in found.annotation_group
        for one in group.annotation
    ]  # fmt: skip
    made = np.array(rows, np.float64) if rows else NONE
    if not np.isfinite(made).all():
        raise DataError(f"{name} has a box that is not finite")
    return Annotated(image, made if found.HasField("type") or rows else None, found.datum.label)


def encode_annotated(datum: pb.Datum, rows: NDArray[Any]) -> bytes:
    """Serialise an image with annotations (N, 7) as SSD's convert_annoset does: a group for each label.

    Groups stand in the order in which their labels first appear, boxes in the order of the rows.
    """
    made = pb.AnnotatedDatum(datum=datum, type=pb.AnnotatedDatum.BBOX)
    groups: dict[int, pb.AnnotationGroup] = {}
    for row in rows:
        label = int(row[LABEL])
        if label not in groups:
            groups[label] = made.annotation_group.add(group_label=label)
        xmin, ymin, xmax, ymax = row[BOX]
        box = pb.NormalizedBBox(xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax, difficult=bool(row[DIFFICULT]))
        groups[label].annotation.add(instance_id=int(row[INSTANCE]), bbox=box)
    serialised: bytes = made.SerializeToString(deterministic=True)
    return serialised


def number_instances(rows: NDArray[Any]) -> NDArray[Any]:
    """The rows with instances that count from 0 within each label."""
    made = rows.copy()
    for label in np.unique(rows[:, LABEL]):
        which = rows[:, LABEL] == label
        made[which, INSTANCE] = np.arange(which.sum())
    return made
