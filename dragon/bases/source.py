"""Base of data layers: no bottoms, no gradient, a random order for every epoch, batches read ahead by a thread."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dragon.bases.layer import Layer
from dragon.bases.stored_state import stored
from dragon.counting import how_many
from dragon.data import Prefetcher, Transformer
from dragon.data.batches import Batch, BatchMaker
from dragon.errors import DataError
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.rng import Stream

__all__ = ["Prefetched", "Source", "host_array"]


_log = logging.getLogger("dragon")


def host_array(top: Blob) -> Array:
    """The host copy of a top, on any engine; the caller has to fill all of it."""
    return top.data_storage.overwrite()[: top.count].reshape(top.shape)


class Source(Layer):
    """Base of data layers. Orders depend only on the random stream of the layer and the epoch, so a resume is exact."""

    bottoms = (0, 0)
    is_source = True
    reads_data = True
    shapes: tuple[tuple[int, ...], ...] = ()
    offered: ClassVar[tuple[str, ...]] = ()  # fields of forks in transform_param that this source follows

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Give the tops the shapes that `setup` found in the data, even if a script has reshaped them since."""
        self.shapes = self.shapes or tuple(blob.shape for blob in top)
        for blob, shape in zip(top, self.shapes, strict=True):
            blob.reshape(shape)

    def set_identity(self, identity: str) -> None:
        super().set_identity(identity)
        share = self.context.share
        if share.ranks > 1 and self.reads_data and not self.takes_share:
            able = "only Data, ImageData and AnnotatedData can"
            self.bad_param(f"cannot be read by {how_many(share.ranks, 'rank')}, each its part: {able}")

    def rows(self, batch_size: int) -> int:
        """The batch size of this rank. Raises PrototxtError if the ranks cannot have equal ones."""
        try:
            return self.context.share.rows(batch_size)
        except ValueError as error:
            self.bad_param(str(error))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Data has no gradient."""

    def prefix(self, folder: str) -> str:
        """`root_folder`, which names in a list begin with: found as other paths are if it ends in a slash.

        Raises DataError.
        """
        return self.find(folder, "root_folder") + "/" if folder.endswith("/") else folder

    def order(self, epoch: int, count: int, what: str = "order") -> NDArray[np.intp]:
        """The order in which `epoch` takes `count` items: a permutation. what: names the random stream."""
        stream = self.rng.child(what)
        stream.draws = epoch
        return stream.generator().permutation(count)

    def first_record(self, rand_skip: int, count: int) -> int:
        """A random record of `count`, below `rand_skip`, to begin with: the same on all ranks."""
        words = Stream(self.context.seed, self.identity).raw(1)
        self.rng.draws += 1
        return int(words[0] % rand_skip) % count

    def order_for_reader(self) -> Callable[[int, int], NDArray[np.intp]]:
        """`order` for the thread that reads, without a reference to the layer, so that an unused net can be freed.

        The function raises DataError once the layer is gone.
        """
        layer = weakref.ref(self)

        def order(epoch: int, count: int) -> NDArray[np.intp]:
            alive = layer()
            if alive is None:
                raise DataError("the layer that this is read for is gone")
            return alive.order(epoch, count)

        return order

    def transform_param(self) -> pb.TransformationParameter:
        """A copy of transform_param, with the path of the mean file resolved.

        Raises DataError for a mean file that does not exist, PrototxtError for settings of SSD's data layers, of which
        the random ones are only warned of in TEST.
        """
        self._check_forks()
        param = pb.TransformationParameter()
        param.CopyFrom(self.param.transform_param)
        if param.mean_file:
            param.mean_file = self.find(param.mean_file, "mean file")
        return param

    def _check_forks(self) -> None:
        p = self.param.transform_param
        for name in ("scale_factors", "crop_width", "crop_height"):
            if getattr(p, name) and name not in self.offered:
                self.bad_param(f"transform_param has {name}, which only ImageSegData and DenseImageData follow")
        shapes = [n for n in ("resize_param", "crop_h", "crop_w") if getattr(p, n) and n not in self.offered]
        random = [
            n
            for n in ("noise_param", "emit_constraint", "distort_param", "expand_param")
            if p.HasField(n) and n not in self.offered
        ]
        for name in shapes + (random if self.phase == pb.TRAIN else []):
            self.bad_param(
                f"transform_param has {name}, of SSD's, which only AnnotatedData follows: leave it out, or prepare "
                "the images beforehand (dragon convert-imageset --resize-height H --resize-width W)"
            )
        for name in random:
            _log.warning("%s: transform_param has %s, of SSD's data layers: ignored in TEST", self.where, name)

    def refuse_transforms(self, names: Sequence[str], what: str) -> None:
        """Raise PrototxtError where transform_param has one of the fields. what: what they cannot be applied to."""
        for name in names:
            if getattr(self.param.transform_param, name):
                self.bad_param(f"cannot apply {name} of transform_param to {what}: leave it out")

    def crop_window(self, transform: pb.TransformationParameter) -> tuple[int, int] | None:
        """(height, width) of the window, in one of the three ways that forks write it; None without.

        Raises PrototxtError for two of them, and for one side without the other.
        """
        ways = [
            (height, width)
            for height, width in (
                (transform.crop_size, transform.crop_size),
                (transform.crop_height, transform.crop_width),
                (transform.crop_h, transform.crop_w),
            )
            if height or width
        ]
        if len(ways) > 1:
            self.bad_param("give one of crop_size, crop_height and crop_width, crop_h and crop_w")
        if ways and not all(ways[0]):
            self.bad_param(f"a crop needs a height and a width, got {ways[0][0]} and {ways[0][1]}")
        return ways[0] if ways else None


class Prefetched(Source):
    """Base of data layers whose batches a thread reads ahead; `setup` of a subclass sets the attributes below."""

    tops = (1, 2)
    reads_ahead = True
    gives_bytes = True
    stream: Stream  # for the transformer alone, since the thread draws ahead of the batches that were taken
    batches: Prefetcher | None = None
    maker: BatchMaker  # of the reader behind `batches`

    def transformer(self, param: pb.TransformationParameter | None = None) -> Transformer:
        """The transformer of `transform_param`, or of `param`, with a random stream of its own. Raises DataError."""
        self.stream = self.rng.child("transform")
        return Transformer(self.transform_param() if param is None else param, self.phase, self.stream)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Copy the next batch to the tops. Raises DataError."""
        self.deliver(self.take(), top)

    def look_ahead(self, top: Sequence[Blob]) -> None:
        """Give top 0 the shape of the next batch, which may differ from that of the last one; waits for the batch."""
        if self.maker.varies:
            with self.naming_errors():
                self.fit(self._reading().next_batch().shape, top)

    def fit(self, shape: tuple[int, ...], top: Sequence[Blob]) -> None:
        """Give the tops the shapes for data of `shape`, which may differ from batch to batch."""
        self.shapes = (shape, *self.shapes[1:])
        top[0].reshape(shape)

    def deliver(self, batch: Batch, top: Sequence[Blob]) -> None:
        """Copy a batch to the host copies of the tops."""
        self.fit(batch.shape, top)
        if batch.bytes is not None:
            self.maker.transformer.apply_at(batch.bytes.images, batch.bytes.places, host_array(top[0]))
        else:
            host_array(top[0])[...] = batch.data
        self.deliver_labels(batch, top)

    def deliver_labels(self, batch: Batch, top: Sequence[Blob]) -> None:
        """Copy the labels of a batch to the second top, if there is one."""
        if len(top) > 1:
            host_array(top[1])[...] = batch.label

    def take(self) -> Batch:
        """The next batch; its arrays are valid until the next call. Raises DataError."""
        with self.naming_errors():
            return self._reading().get()

    @property
    def waited(self) -> float:
        """Seconds that the net has waited for batches."""
        return 0.0 if self.batches is None else self.batches.waited

    def limits(self) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """The smallest and the largest values that the images can have in top 0, as arrays that broadcast to one.

        None if they are not of 8 bits, or the limits depend on random draws (see `Transformer.limits`).
        """
        return self.maker.limits()

    def hand_out_bytes(self) -> None:
        """From the next batch on, give 8-bit images without the transform, for an engine that applies it itself."""
        if not self.maker.as_bytes:
            reading = self._reading()
            reading.seek(*reading.state)  # what was read ahead is read again
            self.maker.as_bytes = True

    def state(self) -> dict[str, int | float | bytes]:
        """Position of the next record and state of the transformer's stream, both right after the last batch taken."""
        position, draws = self._reading().state
        return {"position": position, "transform_draws": draws, "transform_key": self.stream.key.tobytes()}

    def load_state(self, state: dict[str, int | float | bytes]) -> None:
        position, draws, key = (stored(self, state, name) for name in ("position", "transform_draws", "transform_key"))
        if not isinstance(key, bytes) or len(key) != self.stream.key.nbytes:
            raise DataError("the snapshot's transform_key is damaged", layer=self.where)
        self._reading().seek(int(position), int(draws))  # the thread stands still until the next batch is asked for
        self.stream.key = np.frombuffer(key, np.uint64)

    def close(self) -> None:
        if self.batches is not None:
            self.batches.close()

    def _reading(self) -> Prefetcher:
        if self.batches is None:
            raise DataError("is not set up", layer=self.where)
        return self.batches
