"""The layer types ImageData and MultiLabelImageData."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.listed import Listed
from dragon.data.images import ImageReader, read_image_list
from dragon.data.list_forms import read_labels
from dragon.memory.blob import Blob

__all__ = ["ImageData", "MultiLabelImageData"]


@register()
class ImageData(Listed):
    """Images of the files that `source` lists ("FILE LABEL" lines), resized, transformed, and read ahead by a thread.

    Tops: data (batch_size, C, h, w), blue first, and label (batch_size). Without resizing and cropping, the first image
    of each batch decides h and w. With `shuffle` every epoch has its own order. A `source` that is a folder has
    a folder for each class: labels are those of classes.txt in it or beside it, else the folders' order by name.
    """

    type = "ImageData"
    settings = ("image_data_param", "transform_param")
    takes_share = True

    def read_list(self, path: str, root: str) -> Sequence[tuple[str, float | tuple[float, ...]]]:
        """(file, label or labels) of each line. Raises DataError."""
        return read_image_list(path, root)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.check_list()
        p = self.list_param
        for name in ("label_type", "ignore_label"):
            if p.HasField(name):
                self.bad_param(f"image_data_param has {name}, of ImageSegData, which reads label maps")
        with self.naming_errors():
            root = self.root()
            entries = self.read_list(self.find(p.source, "image list"), root)
            count = len(entries)
            order = self.order_of(count)
            rows = self.rows(p.batch_size)
            reader = ImageReader(
                entries, root, self.transformer(), rows, self.color, self.new_size, order, self.context.share
            )
            self.start(reader, reader.maker, count)
        top[0].reshape(rows, *reader.shape)
        if len(top) > 1:
            labels = entries[0][1]
            top[1].reshape(rows, *([len(labels)] if isinstance(labels, tuple) else []))


@register()
class MultiLabelImageData(ImageData):
    """ImageData of a list whose lines have several labels: "FILE LABEL LABEL ...", as many in each.

    Tops: data (batch_size, C, h, w), blue first, and label (batch_size, labels).
    """

    type = "MultiLabelImageData"

    def read_list(self, path: str, root: str) -> Sequence[tuple[str, float | tuple[float, ...]]]:
        return read_labels(path, root)
