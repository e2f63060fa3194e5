"""Reads batches of AnnotatedDatum records: images that are changed with their boxes, on several threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.counting import how_many
from dragon.data.batches import Batch, BatchMaker
from dragon.data.detection.draws import Draws
from dragon.data.detection.geometry import BOX, DIFFICULT, LABEL
from dragon.data.detection.record import decode_annotated
from dragon.data.detection.transform import BoxTransform
from dragon.data.image_file import Color
from dragon.data.source import RecordReader
from dragon.data.transform import Transformer
from dragon.errors import DataError
from dragon.rng import Stream
from dragon.share import ALONE, Share

__all__ = ["YOLO_BOXES", "AnnotatedReader", "label_rows", "yolo_rows"]

YOLO_BOXES = 300  # rows of an image in MobileNet-YOLO's labels
_MOST_THREADS = 4


class AnnotatedReader:
    """Reads `batch_size` records at a time; a Producer for the Prefetcher.

    Each image takes one draw of `stream`, of which its own random numbers come, so that the result does not depend on
    the number of threads. transformer: takes off the mean and scales, nothing else. boxes: whether records have boxes;
    None: what the first one says. yolo: whether labels have MobileNet-YOLO's form, and difficult: then with difficult
    boxes. share: of several ranks, as in BatchReader. Raises DataError.
    """

    def __init__(
        self,
        source: RecordReader,
        change: BoxTransform,
        transformer: Transformer,
        stream: Stream,
        batch_size: int,
        color: Color,
        boxes: bool | None = None,
        threads: int | None = None,
        yolo: bool = False,
        difficult: bool = True,
        share: Share = ALONE,
    ) -> None:
        self._source, self._change, self._stream, self._share = source, change, stream, share
        self._batch_size, self._color = batch_size, color
        self._label_rows = partial(yolo_rows, difficult=difficult) if yolo else label_rows
        self._threads = threads or max(1, min(_MOST_THREADS, batch_size, (os.cpu_count() or 1) // 2))
        self._pool: ThreadPoolExecutor | None = None
        start = source.position
        first = decode_annotated(source.read(1)[0], color, self._name(start))
        source.seek(start)
        self.boxes = first.rows is not None if boxes is None else boxes
        self.maker = BatchMaker(transformer, batch_size, change.size_of(first.image), resized=change.one_size)
        self.shape = self.maker.shape
        rows = max(1, 0 if first.rows is None else len(first.rows))
        self.label_shape = (batch_size, 1, YOLO_BOXES, 5) if yolo else (1, 1, rows, 8)

    def state(self) -> tuple[int, int]:
        """(position, draws) from which the next batch is read."""
        return self._source.position, self._stream.draws

    def seek(self, position: int, draws: int) -> None:
        """Continue as after the batch with these two numbers."""
        self._source.seek(position)
        self._stream.draws = draws

    def fill(self, batch: Batch | None = None) -> Batch:
        """The next batch, in the arrays of `batch` if one is given. Raises DataError."""
        size = self._change.draw_size(lambda: Draws(self._stream.bits()))  # of the batch of all ranks
        self._skip(self._share.rank * self._batch_size)
        first = self._source.position
        work = [
            (record, first + i, Draws(self._stream.bits()), size)
            for i, record in enumerate(self._source.read(self._batch_size))
        ]
        made = list(self._mapped()(self._one, work))
        data, _, shape = self.maker.make([image for image, _ in made], batch, lambda i: self._name(first + i))
        self._skip((self._share.ranks - 1 - self._share.rank) * self._batch_size)
        if self.boxes:
            label = self._label_rows([rows for _, rows in made])
        else:
            label = np.array([rows for _, rows in made], np.float32).reshape(-1, 1, 1, 1)
        return Batch(data, label, *self.state(), None, shape)

    def _skip(self, count: int) -> None:
        """Leave out records of other ranks, with their draws."""
        if count:
            self._source.skip(count)
            self._stream.draws += count

    def close(self) -> None:
        """Release the source and end the threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = None
        self._source.close()

    def _mapped(self) -> Callable[..., Any]:
        if self._threads == 1:
            return map
        self._pool = self._pool or ThreadPoolExecutor(self._threads, "augment")
        return self._pool.map

    def _one(self, work: tuple[bytes, int, Draws, int]) -> tuple[NDArray[Any], Any]:
        """The changed image of a record, and its annotations; its label where records have no boxes."""
        record, position, draws, size = work
        name = self._name(position)
        found = decode_annotated(record, self._color, name)
        if self.boxes and found.rows is None:
            raise DataError(f"{name} has no type, others of its source do")
        try:
            image, rows = self._change.apply(found.image, found.rows, draws, size)
        except DataError as error:
            raise DataError(f"{name}: {error}") from None
        return image, rows if self.boxes else found.label

    def _name(self, position: int) -> str:
        return f'"{self._source.path}": record {position % len(self._source)}'


def label_rows(annotations: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    """The label blob (1, 1, boxes, 8) of a batch: index in the batch, label, instance, box, difficult.

    One row of -1 if no image has a box.
    """
    count = sum(map(len, annotations))
    if not count:
        return np.full((1, 1, 1, 8), -1, np.float32)
    made = np.empty((1, 1, count, 8), np.float32)
    made[0, 0, :, 0] = np.repeat(np.arange(len(annotations)), [len(rows) for rows in annotations])
    made[0, 0, :, 1:] = np.concatenate(annotations)
    return made


def yolo_rows(annotations: Sequence[NDArray[Any]], difficult: bool = True) -> NDArray[np.float32]:
    """MobileNet-YOLO's label blob (N, 1, 300, 5) of a batch: class (from 0), x, y, width and height; then zeros.

    difficult: whether difficult boxes are among them. Raises DataError for an image with more boxes.
    """
    made = np.zeros((len(annotations), 1, YOLO_BOXES, 5), np.float32)
    for item, rows in zip(made, annotations, strict=True):
        counted = rows if difficult else rows[rows[:, DIFFICULT] == 0]
        if len(counted) > YOLO_BOXES:
            raise DataError(
                f"an image has {how_many(len(counted), 'box')}, yolo_data_type: 1 takes at most {YOLO_BOXES}"
            )
        low, high = counted[:, BOX][:, :2], counted[:, BOX][:, 2:]
        item[0, : len(counted)] = np.column_stack([counted[:, LABEL] - 1, (low + high) / 2, high - low])
    return made
