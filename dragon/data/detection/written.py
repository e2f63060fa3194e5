"""A folder of drawn images with boxes, in three forms: VOC, COCO, and LMDBs of AnnotatedDatum records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from numpy.typing import NDArray

from dragon.counting import how_many
from dragon.data.detection.annotations import Described, Object, label_map_of, labels_by_name, rows_of
from dragon.data.detection.record import encode_annotated
from dragon.data.detection.voc import voc_xml
from dragon.data.drawn import Drawn, Files, write_drawn
from dragon.data.image_file import encode_image
from dragon.data.lmdb_io import write_lmdb
from dragon.data.progress import Progress
from dragon.proto import dragon_pb2 as pb

__all__ = ["Picture", "write_detection_set"]

LABEL_MAP = "labelmap.prototxt"
_VOC, _COCO = "voc", "coco"
_QUALITY = 95


@dataclass(frozen=True)
class Picture:
    """A colour image (3, H, W), blue first, and its objects by name; boxes are edges of pixels, from 0 to the width."""

    image: NDArray[np.uint8]
    objects: tuple[Object, ...]


def write_detection_set(
    folder: Path,
    name: str,
    label: str,
    classes: Sequence[str],
    counts: Mapping[str, int],
    facts: Mapping[str, Any],
    draw: Callable[[str], Iterable[Picture]],
    progress: Progress,
) -> Drawn:
    """Write NAME_PART_lmdb for each part, the label map, PART_name_size.txt, and the folders voc and coco.

    counts: images of each part. facts: further entries of dataset.json. draw(part): the images. Raises DataError.
    """
    description = {"label": label, **counts, "classes": list(classes), **facts}

    def write(place: Path) -> None:
        for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (place / _VOC / part).mkdir(parents=True)
        (place / _COCO).mkdir()
        label_map = label_map_of(classes)
        (place / LABEL_MAP).write_text(text_format.MessageToString(label_map), encoding="utf-8")
        labels, first = labels_by_name(label_map), 1
        for part, count in counts.items():
            writer = _Part(place, part, labels, first)
            write_lmdb(place / f"{name}_{part}_lmdb", _counted(writer.records(draw(part)), part, count, progress))
            writer.finish(classes)
            first += count

    written = write_drawn(folder, description, write)
    parts = {part: Files(folder / f"{name}_{part}_lmdb", how_many(count, "image")) for part, count in counts.items()}
    parts["labels"] = Files(folder / LABEL_MAP, f"{how_many(len(classes), 'class')}, {', '.join(classes)}")
    parts["forms"] = Files(folder / _VOC, f"the same images and boxes as VOC; as COCO in {folder / _COCO}")
    return Drawn(label, folder, written, parts)


class _Part:
    """Writes the files of one part while its records are taken."""

    def __init__(self, place: Path, part: str, labels: Mapping[str, int], first: int) -> None:
        self._place, self._part, self._labels, self._first = place, part, labels, first
        self._sizes: list[str] = []
        self._names: list[str] = []
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def records(self, pictures: Iterable[Picture]) -> Iterator[tuple[bytes, bytes]]:
        """Key and record of each picture."""
        for number, picture in enumerate(pictures):
            name = f"{self._first + number:06d}"
            content = encode_image(picture.image, "jpg", _QUALITY)
            channels, height, width = picture.image.shape
            voc = self._place / _VOC
            (voc / "JPEGImages" / f"{name}.jpg").write_bytes(content)
            (voc / "Annotations" / f"{name}.xml").write_bytes(voc_xml(f"{name}.jpg", width, height, picture.objects))
            self._names.append(name)
            self._sizes.append(f"{name} {height} {width}")
            self._note(self._first + number, f"{name}.jpg", picture.objects, height, width)
            rows = rows_of(Described(picture.objects), self._labels, (width, height), name)
            datum = pb.Datum(channels=channels, height=height, width=width, data=content, label=-1, encoded=True)
            yield f"{number:08d}_{name}.jpg".encode(), encode_annotated(datum, rows)

    def _note(self, number: int, file: str, objects: Sequence[Object], height: int, width: int) -> None:
        self._images.append({"id": number, "file_name": file, "height": height, "width": width})
        for one in objects:
            xmin, ymin, xmax, ymax = one.box
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1,
                    "image_id": number,
                    "category_id": self._labels[str(one.kind)],
                    "bbox": [xmin, ymin, xmax - xmin, ymax - ymin],
                    "area": (xmax - xmin) * (ymax - ymin),
                    "iscrowd": int(one.difficult),
                }
            )

    def finish(self, classes: Sequence[str]) -> None:
        """Write the lists of the part."""
        names = "".join(f"{name}\n" for name in self._names)
        (self._place / _VOC / "ImageSets" / "Main" / f"{self._part}.txt").write_text(names, encoding="utf-8")
        sizes = "".join(f"{line}\n" for line in self._sizes)
        (self._place / f"{self._part}_name_size.txt").write_text(sizes, encoding="utf-8")
        content = {
            "images": self._images,
            "annotations": self._annotations,
            "categories": [{"id": label, "name": name} for label, name in enumerate(classes, 1)],
        }
        path = self._place / _COCO / f"instances_{self._part}.json"
        path.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _counted(
    records: Iterator[tuple[bytes, bytes]], part: str, count: int, progress: Progress
) -> Iterator[tuple[bytes, bytes]]:
    for done, record in enumerate(records, 1):
        yield record
        progress(f"{part} images", done, count)
