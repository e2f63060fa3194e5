"""The layer type ImageData."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.source import Prefetched
from dragon.data import Color, Prefetcher, Transformer
from dragon.data.images import ImageReader, read_image_list
from dragon.memory.blob import Blob

__all__ = ["ImageData"]

_PREFETCH = 4  # batches read ahead


@register()
class ImageData(Prefetched):
    """Images of the files that `source` lists ("FILE LABEL" lines), resized, transformed, and read ahead by a thread.

    Tops: data (batch_size, C, h, w), blue first, and label (batch_size). Without resizing and cropping, the first image
    of each batch decides h and w. With `shuffle` every epoch has its own order.
    """

    type = "ImageData"
    settings = ("image_data_param", "transform_param")

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.image_data_param
        if not p.source:
            self.bad_param("image_data_param needs a source")
        if p.batch_size < 1:
            self.bad_param("image_data_param needs a batch_size of at least 1")
        if (p.new_height > 0) != (p.new_width > 0):
            self.bad_param(f"new_height and new_width must be set together, got {p.new_height} and {p.new_width}")
        with self.naming_errors():
            root = self.find(p.root_folder, "root_folder") + "/" if p.root_folder.endswith("/") else p.root_folder
            entries = read_image_list(self.find(p.source, "image list"), root)
            count, shuffled = len(entries), self.order_for_reader()
            self.stream = self.rng.child("transform")
            reader = ImageReader(
                entries,
                root,
                Transformer(self.transform_param(), self.phase, self.stream),
                p.batch_size,
                Color.COLOR if p.is_color else Color.GRAY,
                (p.new_height, p.new_width) if p.new_height else None,
                (lambda epoch: shuffled(epoch, count)) if p.shuffle else lambda epoch: range(count),
            )
            if p.rand_skip:
                reader.seek(int(self.rng.raw(1)[0] % p.rand_skip) % len(entries), 0)
            self.batches, self.maker = Prefetcher(reader, _PREFETCH), reader.maker
        top[0].reshape(p.batch_size, *reader.shape)
        if len(top) > 1:
            top[1].reshape(p.batch_size)
