"""The layer type AnnotatedData."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.database import FromDatabase
from dragon.bases.layer import TRAIN, register
from dragon.data import Color, Prefetcher, Transformer
from dragon.data.batches import Batch
from dragon.data.detection.reader import AnnotatedReader
from dragon.data.detection.transform import BoxTransform
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import read_message

__all__ = ["AnnotatedData"]


@register()
class AnnotatedData(FromDatabase):
    """Images with boxes from a database of AnnotatedDatum records (`dragon convert-annoset`), changed as SSD does it.

    Tops: data (batch_size, C, h, w), blue first, and label (1, 1, boxes of the batch, 8): index of the image in the
    batch, label, instance, xmin, ymin, xmax, ymax in fractions of the image, difficult. A batch without boxes has one
    row of -1. Records without a type have a label each: (batch_size, 1, 1, 1). With `yolo_data_type: 1` labels are
    MobileNet-YOLO's, (batch_size, 1, 300, 5): class from 0, x, y, width, height, then zeros; without difficult boxes if
    `train_diffcult: false`.

    In this order: distort_param, expand_param, a window that one of `batch_sampler` found, resize_param, noise_param,
    crop, mirror, mean and scale. Of several resize_param each batch follows one, by their `prob`. emit_constraint says
    which boxes a window keeps. All random numbers come from the layer's stream: they depend on the seed and the image's
    place in the run, not on the number of threads.
    """

    type = "AnnotatedData"
    settings = ("annotated_data_param", "data_param", "transform_param")
    takes_share = True
    gives_bytes = False
    offered = (
        "resize_param", "noise_param", "emit_constraint", "distort_param", "expand_param", "crop_h", "crop_w",
    )  # fmt: skip

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p, annotated = self.param.data_param, self.param.annotated_data_param
        self.check_database()
        if annotated.yolo_data_type not in (0, 1):
            self.bad_param(f"yolo_data_type must be 0 or 1, got {annotated.yolo_data_type}")
        self.refuse_transforms(("zero_pad", "cutout", "brightness", "contrast", "saturation"), "images with boxes")
        with self.naming_errors():
            transform = self.transform_param()
            if annotated.label_map_file:
                read_message(self.find(annotated.label_map_file, "label map"), pb.LabelMap())
            change, rest = self._split(transform)
            source = self.open_database()
            try:
                color = Color.COLOR if p.force_encoded_color else rest.color
                boxes = True if annotated.HasField("anno_type") else None
                yolo = annotated.yolo_data_type == 1
                rows = self.rows(p.batch_size)
                difficult, share = annotated.train_diffcult, self.context.share
                reader = AnnotatedReader(
                    source, change, rest, self.stream, rows, color, boxes, yolo=yolo, difficult=difficult, share=share
                )
                self.skip_some(reader, len(source))
            except BaseException:
                source.close()
                raise
        self.boxes = reader.boxes
        self.batches, self.maker = Prefetcher(reader, p.prefetch), reader.maker
        top[0].reshape(rows, *reader.shape)
        if len(top) > 1:
            top[1].reshape(reader.label_shape if reader.boxes else (rows, 1, 1, 1))

    def _split(self, transform: pb.TransformationParameter) -> tuple[BoxTransform, Transformer]:
        """What changes images with their boxes, and what takes off the mean."""
        crop = self.crop_window(transform)
        if transform.HasField("expand_param") and transform.mean_file:
            self.bad_param("fills the canvas of expand_param with mean_value: give it in place of mean_file")
        own, fill = self.param.annotated_data_param, transform.mean_value or [0]
        jitter = own.yolo_data_jitter if own.yolo_data_type == 1 else None
        change = BoxTransform(transform, own.batch_sampler, crop, self.phase == TRAIN, fill, jitter)
        only = pb.TransformationParameter()
        only.CopyFrom(transform)
        for name in (*self.offered, "crop_size", "mirror"):
            only.ClearField(name)
        return change, self.transformer(only)

    def look_ahead(self, top: Sequence[Blob]) -> None:
        with self.naming_errors():
            self._fit_all(self._reading().next_batch(), top)

    def deliver_labels(self, batch: Batch, top: Sequence[Blob]) -> None:
        self._fit_all(batch, top)
        super().deliver_labels(batch, top)

    def _fit_all(self, batch: Batch, top: Sequence[Blob]) -> None:
        self.shapes = (batch.shape, batch.label.shape)[: len(top)]
        for blob, shape in zip(top, self.shapes, strict=True):
            blob.reshape(shape)
