"""The layer type RoIData."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from dragon.bases.layer import TRAIN, register
from dragon.bases.rcnn_defaults import DEFAULTS
from dragon.bases.region_source import give
from dragon.bases.source import Source
from dragon.bases.stored_state import stored
from dragon.data.detection.examples import Example, labels_of, open_examples
from dragon.data.resize import resize_bilinear, scaled_size
from dragon.errors import DataError
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

__all__ = ["RoIData"]


@register()
class RoIData(Source):
    """Images with true boxes for Faster R-CNN, one at a time (Ren et al. 2015).

    Tops: data (1, 3, h, w), blue first, without the mean; im_info (1, 3): h, w, and the factor of the scaling; gt_boxes
    (G, 5): x1, y1, x2, y2 in pixels of data, and the class; optionally the labels (1, 1, B, 8) that AnnotatedData gives
    for one image, difficult boxes too, for DetectionEvaluate. `source` is a VOC folder, or an LMDB of AnnotatedDatum
    records. The short side is scaled to `scale`, unless the long one then exceeds max_size. Images without boxes are
    left out in TRAIN. As a Python layer, roi_data_layer.layer.RoIDataLayer of py-faster-rcnn.
    """

    type = "RoIData"
    settings: ClassVar[tuple[str, ...]] = ("roi_data_param",)
    tops = (3, 4)
    stops_gradient = True
    takes_regions = False

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.roi_data_param
        if p.region_file and not self.takes_regions:
            self.bad_param("region_file is read by type RegionData, which gives regions with their classes and targets")
        if not p.source:
            self.bad_param("needs a source; py-faster-rcnn's layer takes it from rcnn.yml: DATA: {source: FOLDER}")
        if len(p.pixel_mean) not in (0, 3):
            self.bad_param(f"pixel_mean must have 3 values, got {len(p.pixel_mean)}")
        self.lengths = list(p.scale) or [600]
        if min(*self.lengths, p.max_size) < 1:
            self.bad_param("scale and max_size must be at least 1")
        self.mean = np.array(p.pixel_mean or DEFAULTS["PIXEL_MEANS"]).reshape(3, 1, 1)
        labels = Path(self.find(p.label_map_file, "label map")) if p.label_map_file else None
        with self.naming_errors():
            self.examples = open_examples(Path(self.find(p.source, "source")), p.image_set, labels)
            if not len(self.examples):
                raise DataError(f'"{p.source}" has no images')
        self.open_more(len(top))
        self.position = 0
        self.epoch: int | None = None  # whose order `permutation` is
        # the shapes of the first image, without moving on
        state, draws = self.position, self.rng.draws
        for blob, values in zip(top, self._next(), strict=False):
            blob.reshape(values.shape)
        self.position, self.rng.draws = state, draws

    def open_more(self, tops: int) -> None:
        """Check the number of tops and open what a subclass reads besides. Raises PrototxtError, DataError."""

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The tops keep the shapes of the last image; those of the next one are known when it is read."""

    def state(self) -> dict[str, int | float | bytes]:
        return {"position": self.position}

    def load_state(self, state: dict[str, int | float | bytes]) -> None:
        self.position = int(stored(self, state, "position"))
        self.epoch = None  # the order that is known may be that of another seed

    def close(self) -> None:
        if hasattr(self, "examples"):
            self.examples.close()

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for blob, values in zip(top, self._next(), strict=False):
            give(blob, values)

    def _next(self) -> tuple[Array, ...]:
        """The tops of the next image."""
        p, train = self.param.roi_data_param, self.phase == TRAIN
        random = self.rng.generator()
        flips = 2 if train and p.use_flipped else 1
        count = len(self.examples) * flips
        for _ in range(count):
            epoch, at = divmod(self.position, count)
            if train and p.shuffle:
                if self.epoch != epoch:
                    self.epoch, self.permutation = epoch, self.order(epoch, count)
                at = int(self.permutation[at])
            self.position += 1
            with self.naming_errors():
                example = self.examples[at // flips]
            if example.counted(p.use_difficult).any() or not train:
                length = int(self.lengths[random.integers(len(self.lengths))] if train else self.lengths[0])
                flip = at % flips == 1
                return self.tops_of(at // flips, example.flipped() if flip else example, flip, length, random)
        raise DataError(f'no image of "{p.source}" has a box', layer=self.where)

    def scaled(self, image: Array, length: int) -> tuple[Array, float]:
        """The image (3, H, W) without the mean, with a short side of `length`, as (1, 3, h, w), and the factor."""
        _, height, width = image.shape
        *size, factor = scaled_size(height, width, length, self.param.roi_data_param.max_size)
        with self.naming_errors():
            return resize_bilinear((image - self.mean).astype(np.float32), *size)[None], factor

    def counted(self, example: Example) -> Array:
        """The boxes (G, 5) that count. Raises DataError for a class out of range."""
        p = self.param.roi_data_param
        boxes: Array = example.boxes[example.counted(p.use_difficult)]
        if p.num_classes and (boxes[:, 4] >= p.num_classes).any():
            raise DataError(
                f"a box has class {boxes[:, 4].max():g}, expected 1 to {p.num_classes - 1} (num_classes: "
                f"{p.num_classes})",
                layer=self.where,
            )
        return boxes

    def tops_of(
        self, index: int, example: Example, flip: bool, length: int, random: np.random.Generator
    ) -> tuple[Array, ...]:
        """The tops of image `index`, which is flipped already if `flip`."""
        data, factor = self.scaled(example.image.astype(np.float32), length)
        labels = labels_of(example.boxes, example.difficult, *example.image.shape[1:])
        boxes = self.counted(example) * [factor, factor, factor, factor, 1]
        return data, np.array([[*data.shape[2:], factor]]), boxes, labels
