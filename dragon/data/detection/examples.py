"""Images with their boxes, by number: a folder of VOC, or a database of AnnotatedDatum records."""

from __future__ import annotations

from glob import escape
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dragon.data.detection.annotations import labels_by_name, rows_of
from dragon.data.detection.geometry import BOX, DIFFICULT, LABEL
from dragon.data.detection.reader import label_rows
from dragon.data.detection.record import decode_annotated
from dragon.data.detection.voc import read_split_list, read_voc
from dragon.data.image_file import Color
from dragon.data.images import read_image
from dragon.data.source import open_source
from dragon.errors import DataError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import read_message

__all__ = ["VOC_CLASSES", "Example", "Examples", "labels_of", "open_examples"]

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


class Example(NamedTuple):
    """image: (3, H, W) uint8, blue first. boxes: rows x1, y1, x2, y2, label (G, 5) in pixels, x2 and y2 included."""

    image: NDArray[np.uint8]
    boxes: NDArray[np.float64]
    difficult: NDArray[np.bool_]

    def counted(self, use_difficult: bool) -> NDArray[np.bool_]:
        """Which boxes count: all, or those that are not difficult."""
        return ~self.difficult | use_difficult

    def flipped(self) -> Example:
        """The example mirrored, left to right."""
        boxes = self.boxes.copy()
        boxes[:, [0, 2]] = self.image.shape[2] - 1 - boxes[:, [2, 0]]
        return Example(self.image[:, :, ::-1], boxes, self.difficult)


class Examples(Protocol):
    """Examples by number."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, index: int) -> Example:
        """The example of this number. Raises DataError."""

    def name(self, index: int) -> str:
        """What the example of this number is called: its image in a folder, its key in a database."""

    def close(self) -> None:
        """Release the files."""


def open_examples(source: Path, image_set: str, label_map: Path | None) -> Examples:
    """The examples of a folder or a database. label_map: labels of a folder's names; None: VOC's. Raises DataError."""
    if (source / "Annotations").is_dir():
        return _Folder(source, image_set, label_map)
    if not (source / "data.mdb").is_file():
        raise DataError(f'"{source}" is neither a folder of VOC, with Annotations, nor an LMDB')
    return _Database(source)


def _example(image: NDArray[np.uint8], rows: NDArray[np.float64], edge: float) -> Example:
    """edge: what is taken off the right and lower ends, so that they are the last pixels."""
    height, width = image.shape[1:]
    boxes = np.column_stack([rows[:, BOX] * [width, height, width, height], rows[:, LABEL]])
    boxes[:, 2:4] -= edge
    boxes[:, :4] = np.clip(boxes[:, :4], 0, np.array([width, height, width, height]) - 1)
    return Example(image, boxes, rows[:, DIFFICULT] != 0)


def labels_of(boxes: NDArray[np.float64], difficult: NDArray[np.bool_], height: int, width: int) -> NDArray[np.float32]:
    """The labels (1, 1, B, 8) that AnnotatedData gives for one image of this size. boxes, difficult: as in Example."""
    corners = (boxes[:, :4] + [0, 0, 1, 1]) / [width, height, width, height]
    return label_rows([np.column_stack([boxes[:, 4], np.zeros(len(boxes)), corners, difficult])])


class _Folder:
    def __init__(self, folder: Path, image_set: str, label_map: Path | None) -> None:
        self._folder = folder
        self._names = read_split_list(folder, image_set)
        self._labels = dict(zip(VOC_CLASSES, range(1, len(VOC_CLASSES) + 1), strict=True))
        if label_map is not None:
            self._labels = labels_by_name(read_message(label_map, pb.LabelMap()), check=True)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Example:
        name = self._names[index]
        found = sorted((self._folder / "JPEGImages").glob(f"{escape(name)}.*"))
        if not found:
            raise DataError(f'"{self._folder}" has no image JPEGImages/{name}')
        image = read_image(str(found[0]), Color.COLOR)
        path = self._folder / "Annotations" / f"{name}.xml"
        height, width = image.shape[1:]
        rows = rows_of(read_voc(path), self._labels, (width, height), str(path))
        rows = rows.copy()
        rows[:, BOX] -= np.array([1 / width, 1 / height, 1 / width, 1 / height])  # VOC counts from pixel 1
        return _example(image, rows, 0)

    def name(self, index: int) -> str:
        return self._names[index]

    def close(self) -> None:
        pass


class _Database:
    def __init__(self, path: Path) -> None:
        self._source = open_source(path, pb.DataParameter.LMDB)
        self._path = path

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Example:
        self._source.seek(index)
        name = f'"{self._path}": record {index}'
        found = decode_annotated(self._source.read(1)[0], Color.COLOR, name)
        if found.rows is None:
            raise DataError(f"{name} has no boxes")
        return _example(found.image, found.rows, 1)

    def name(self, index: int) -> str:
        return self._source.key(index).decode(errors="replace")

    def close(self) -> None:
        self._source.close()
