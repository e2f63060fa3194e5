"""Data: images and labels from a database, transformed, read ahead by a thread.

Tops: data (batch_size, C, H, W) and, if wanted, label (batch_size). The first record decides the shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from dragon.blob import Blob
from dragon.data import BatchReader, Color, Prefetcher, RecordReader, ShuffledReader, Transformer, open_source
from dragon.errors import DataError
from dragon.layer import Layer, register
from dragon.proto import dragon_pb2 as pb
from dragon.rng import Stream
from dragon.storage import Array

__all__ = ["Data"]


@register()
class Data(Layer):
    type = "Data"
    bottoms = (0, 0)
    tops = (1, 2)
    is_source = True
    _batches: Prefetcher | None = None

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.data_param
        if not p.source:
            self.bad_param("data_param needs a source")
        if p.batch_size < 1:
            self.bad_param("data_param needs a batch_size of at least 1")
        transform = pb.TransformationParameter()
        transform.CopyFrom(self.param.transform_param)
        if transform.mean_file:
            transform.mean_file = self.context.find(transform.mean_file)
        with self._named():
            # the thread draws ahead of what was handed out, hence a stream that nobody else uses
            self._stream = Stream(self.context.seed, f"{self.name}/transform")
            transformer = Transformer(transform, self.phase, self._stream)
            database = open_source(self.context.find(p.source), p.backend)
            source: RecordReader = ShuffledReader(database, self._order) if p.shuffle else database
            try:
                color = Color.COLOR if p.force_encoded_color else None
                reader = BatchReader(source, transformer, p.batch_size, color)
                if p.rand_skip:
                    reader.seek(int(self.rng.raw(1)[0] % p.rand_skip) % len(source), 0)
            except BaseException:
                source.close()
                raise
            self._batches = Prefetcher(reader, p.prefetch)
        top[0].reshape(p.batch_size, *reader.shape)
        if len(top) > 1:
            top[1].reshape(p.batch_size)

    def _order(self, epoch: int, count: int) -> NDArray[np.int64]:
        """The order of an epoch's records: it depends on the seed, the layer's name and the epoch alone."""
        stream = Stream(self.context.seed, f"{self.name}/shuffle")
        stream.draws = epoch
        return stream.generator().permutation(count)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        pass

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        with self._named():
            batch = self._reading().get()
        _fill(top[0], batch.data)
        if len(top) > 1:
            _fill(top[1], batch.label)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        pass

    def state(self) -> dict[str, int | float | bytes]:
        """Position of the next record and the transformer's stream, right after the last batch handed out."""
        position, draws = self._reading().state
        return {"position": position, "transform_draws": draws, "transform_key": self._stream.key.tobytes()}

    def load_state(self, state: dict[str, int | float | bytes]) -> None:
        try:
            position, draws = int(state["position"]), int(state["transform_draws"])
            key = state["transform_key"]
        except KeyError as error:
            raise DataError(f"{self.where}: the snapshot holds no {error.args[0]}") from None
        if not isinstance(key, bytes) or len(key) != self._stream.key.nbytes:
            raise DataError(f"{self.where}: the snapshot's transform_key is damaged")
        self._reading().seek(position, draws)  # the thread stands still until the next batch is asked for
        self._stream.key = np.frombuffer(key, np.uint64)

    def close(self) -> None:
        if self._batches is not None:
            self._batches.close()

    def _reading(self) -> Prefetcher:
        if self._batches is None:
            raise DataError(f"{self.where}: is not set up")
        return self._batches

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except DataError as error:
            raise DataError(f"{self.where}: {error}") from None


def _fill(top: Blob, values: Array) -> None:
    top.data_storage.overwrite()[: top.count].reshape(top.shape)[...] = values
