"""Annotations of one image as files have them: objects with names or labels, and boxes in pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.data.datum import LABELS
from dragon.data.detection.geometry import BOX, DIFFICULT, LABEL, NONE
from dragon.data.detection.record import number_instances
from dragon.data.lists import number_in, read_lines
from dragon.errors import DataError, nearest
from dragon.proto import dragon_pb2 as pb

__all__ = ["BACKGROUND", "Described", "Object", "label_map_of", "labels_by_name", "read_txt", "rows_of"]

BACKGROUND = "none_of_the_above"


@dataclass(frozen=True)
class Object:
    """An object: its class by name, or by label where a file has those, and its box (xmin, ymin, xmax, ymax) in pixels.

    difficult: VOC's `difficult`, or COCO's `iscrowd`.
    """

    kind: str | int
    box: tuple[float, float, float, float]
    difficult: bool = False


@dataclass(frozen=True)
class Described:
    """The objects of an image; width and height are those that its file says, None where it says nothing."""

    objects: tuple[Object, ...] = ()
    width: int | None = None
    height: int | None = None


def read_txt(path: str | Path) -> Described:
    """Objects of lines "LABEL XMIN YMIN XMAX YMAX". Raises DataError with the line number."""
    found = []
    wanted = '"LABEL XMIN YMIN XMAX YMAX"'
    if not Path(path).stat().st_size:
        return Described(())
    for number, line in read_lines(str(path), "annotations", wanted):
        values = [number_in(word) for word in line.split()]
        if len(values) != 5 or not isinstance(values[0], int) or None in values:
            raise DataError(f'{path}:{number}: expected {wanted}, got "{line[:60]}"')
        if values[0] not in LABELS:
            raise DataError(f"{path}:{number}: label {values[0]} is out of range, {LABELS[0]} to {LABELS[-1]}")
        xmin, ymin, xmax, ymax = (float(value) for value in values[1:] if value is not None)
        found.append(Object(values[0], (xmin, ymin, xmax, ymax)))
    return Described(tuple(found))


def labels_by_name(label_map: pb.LabelMap, check: bool = False) -> dict[str, int]:
    """The label of each name. check: raise DataError for names or labels that come twice."""
    found: dict[str, int] = {}
    labels: dict[int, str] = {}
    for item in label_map.item:
        if check and item.name in found:
            raise DataError(f'label map: the name "{item.name}" comes twice')
        if check and item.label in labels:
            raise DataError(f'label map: "{labels[item.label]}" and "{item.name}" have the label {item.label}')
        found[item.name] = item.label
        labels[item.label] = item.name
    return found


def label_map_of(names: Sequence[str], shown: Sequence[str] = ()) -> pb.LabelMap:
    """A label map with the background as label 0 and `names` from 1 on. shown: names for output, if others."""
    made = pb.LabelMap()
    made.item.add(name=BACKGROUND, label=0, display_name="background")
    for label, (name, display) in enumerate(zip(names, shown or names, strict=True), 1):
        made.item.add(name=name, label=label, display_name=display)
    return made


def rows_of(described: Described, labels: Mapping[str, int], size: tuple[int, int], where: str) -> NDArray[Any]:
    """Annotations (N, 7), see `dragon.data.detection.geometry`.

    size: width and height that boxes are divided by. where: the file, for messages. Raises DataError for a name that is
    not in `labels`, and for a box that is not finite.
    """
    if not described.objects:
        return NONE
    rows = np.zeros((len(described.objects), 7))
    for row, one in zip(rows, described.objects, strict=True):
        if isinstance(one.kind, str) and one.kind not in labels:
            raise DataError(f'{where}: class "{one.kind}" is not in the label map{nearest(one.kind, list(labels))}')
        row[LABEL] = one.kind if isinstance(one.kind, int) else labels[one.kind]
        with np.errstate(over="ignore"):  # in 32 bits, as the fork divides
            row[BOX] = np.array(one.box, np.float32) / np.tile(np.array(size, np.float32), 2)
        row[DIFFICULT] = one.difficult
    if not np.isfinite(rows).all():
        raise DataError(f"{where}: has a box that is not finite")
    return number_instances(rows)
