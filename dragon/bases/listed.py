"""Base of data layers whose `source` is a text file that lists images, label maps or videos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dragon.bases.layer import TRAIN
from dragon.bases.source import Prefetched, host_array
from dragon.data import Color, Prefetcher
from dragon.data.batches import Batch, BatchMaker
from dragon.data.label_maps import LabelMapReader, Together
from dragon.data.list_forms import read_pairs
from dragon.data.listed import ListedReader, Order
from dragon.memory.blob import Blob, checked_count
from dragon.proto import dragon_pb2 as pb

__all__ = ["Listed", "WithLabelMaps"]

_PREFETCH = 4  # batches read ahead
_Label = pb.ImageDataParameter
_LINES: dict[int, str] = {_Label.PIXEL: '"IMAGE MAP"', _Label.IMAGE: '"IMAGE LABEL"', _Label.NONE: '"IMAGE"'}


class Listed(Prefetched):
    """Base of such layers; the first of `settings` has source, batch_size, shuffle, rand_skip and root_folder."""

    @property
    def list_param(self) -> Any:
        """The message with the list and its options."""
        return getattr(self.param, self.settings[0])

    def check_list(self) -> None:
        """Raise PrototxtError for settings without source or batch_size, or with one of new_height and new_width.

        ShapeError for a size that this machine's memory does not hold.
        """
        p, name = self.list_param, self.settings[0]
        if not p.source:
            self.bad_param(f"{name} needs a source")
        if p.batch_size < 1:
            self.bad_param(f"{name} needs a batch_size of at least 1")
        if (p.new_height > 0) != (p.new_width > 0):
            self.bad_param(f"new_height and new_width must be set together, got {p.new_height} and {p.new_width}")
        with self.naming_errors():
            checked_count((1, p.new_height, p.new_width), "new_height and new_width")

    @property
    def new_size(self) -> tuple[int, int] | None:
        """(height, width) that images are resized to; None without."""
        p = self.list_param
        return (p.new_height, p.new_width) if p.new_height else None

    @property
    def color(self) -> Color:
        """The channels that images are read with."""
        return Color.COLOR if self.list_param.is_color else Color.GRAY

    def root(self) -> str:
        """The prefix of the names in the list, see `prefix`. Raises DataError."""
        return self.prefix(self.list_param.root_folder)

    def order_of(self, count: int) -> Order:
        """The order in which each epoch takes `count` entries, for the thread that reads."""
        if not self.list_param.shuffle:
            return lambda epoch: range(count)
        shuffled = self.order_for_reader()
        return lambda epoch: shuffled(epoch, count)

    def start(self, reader: ListedReader, maker: BatchMaker, count: int) -> None:
        """Begin to read ahead, at a random entry of `count` with rand_skip."""
        if skip := self.list_param.rand_skip:
            reader.seek(self.first_record(skip, count), 0)
        self.batches, self.maker = Prefetcher(reader, _PREFETCH), maker


class WithLabelMaps(Listed):
    """Base of sources of images with label maps. Tops: data (N, C, h, w), label (N, 1, h, w), [data_dim (N, 1, 1, 2)].

    data_dim: the height and width of each image, at most those of the data.
    """

    gives_bytes = False
    offered = ("scale_factors", "crop_width", "crop_height", "crop_h", "crop_w")

    def open_maps(self, top: Sequence[Blob], *, kind: int = _Label.PIXEL, ignored: int = 255) -> None:
        """Open the list and give the tops their shapes: what `setup` does.

        kind: LabelType of ImageDataParameter, what the second word of a line is. Raises PrototxtError, DataError.
        """
        self.check_list()
        p, transform = self.list_param, self.transform_param()
        if transform.zero_pad:
            self.bad_param("transform_param has zero_pad, which would move the image against its label map")
        if not 0 <= ignored <= 255:
            self.bad_param(f"ignore_label must lie in [0, 255], got {ignored}")
        crop, mirror = self.crop_window(transform), transform.mirror
        if crop and transform.mean_file:
            self.bad_param("takes mean_value in place of mean_file where it crops: images have sizes of their own")
        if any(not factor > 0 for factor in transform.scale_factors):
            self.bad_param(f"scale_factors must be above 0, got {list(transform.scale_factors)}")
        together = Together(
            self.new_size,
            tuple(transform.scale_factors),
            crop,
            self.phase == TRAIN,
            mirror,
            tuple(min(255, max(0, round(v))) for v in transform.mean_value) or (0,),
            ignored,
        )
        for name in ("crop_size", "mirror", *self.offered):
            transform.ClearField(name)
        with self.naming_errors():
            root, source = self.root(), self.find(p.source, "image list")
            wanted = _LINES[kind]
            entries = read_pairs(source, root, wanted, kind != _Label.NONE)
            reader = LabelMapReader(
                source, entries, root, kind != _Label.PIXEL, self.transformer(transform), p.batch_size, self.color,
                together, self.order_of(len(entries)),
            )  # fmt: skip
            self.start(reader, reader.maker, len(entries))
        self.fit((p.batch_size, *reader.shape), top)

    def fit(self, shape: tuple[int, ...], top: Sequence[Blob]) -> None:
        n, _, height, width = shape
        self.shapes = (shape, (n, 1, height, width), (n, 1, 1, 2))[: len(top)]
        for blob, wanted in zip(top, self.shapes, strict=True):
            blob.reshape(wanted)

    def deliver_labels(self, batch: Batch, top: Sequence[Blob]) -> None:
        host_array(top[1])[...] = batch.label
        if len(top) > 2 and batch.sizes is not None:
            host_array(top[2])[:, 0, 0] = batch.sizes.clip(max=batch.shape[2:])
