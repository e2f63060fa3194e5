"""What layers that read data from files share: no bottoms, nothing to propagate, an order drawn for every epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from dragon.blob import Blob
from dragon.data import Prefetcher
from dragon.errors import DataError
from dragon.layer import Layer
from dragon.proto import dragon_pb2 as pb
from dragon.rng import Stream
from dragon.storage import Array

__all__ = ["Prefetched", "Source", "host_array"]


def host_array(top: Blob) -> Array:
    """The host copy of a top, to be filled as a whole, wherever the net computes."""
    return top.data_storage.overwrite()[: top.count].reshape(top.shape)


class Source(Layer):
    """Base of data layers. What is drawn depends on the layer's stream and the epoch alone, so a resume is exact."""

    bottoms = (0, 0)
    is_source = True
    shapes: tuple[tuple[int, ...], ...] = ()

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Tops have the shapes that `setup` gave them from the data, whatever a script has made of them since."""
        self.shapes = self.shapes or tuple(blob.shape for blob in top)
        for blob, shape in zip(top, self.shapes, strict=True):
            blob.reshape(shape)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Data has no gradient."""

    def order(self, epoch: int, count: int, what: str = "order") -> NDArray[np.intp]:
        """The order in which `epoch` takes `count` things."""
        stream = self.rng.child(what)
        stream.draws = epoch
        return stream.generator().permutation(count)

    def transform_param(self) -> pb.TransformationParameter:
        """A copy of the settings with the mean file's path found."""
        param = pb.TransformationParameter()
        param.CopyFrom(self.param.transform_param)
        if param.mean_file:
            param.mean_file = self.context.find(param.mean_file)
        return param

    @contextmanager
    def named(self) -> Iterator[None]:
        """Put the layer's name in front of a DataError."""
        try:
            yield
        except DataError as error:
            text = str(error)
            raise DataError(text if text.startswith(self.where) else f"{self.where}: {text}") from None


class Prefetched(Source):
    """A source whose batches a thread reads ahead. `setup` makes `stream`, for the transformer alone, and `batches`."""

    tops = (1, 2)
    stream: Stream  # the thread draws ahead of what was handed out, hence a stream that nobody else uses
    batches: Prefetcher | None = None

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        with self.named():
            batch = self._reading().get()
        for blob, values in zip(top, (batch.data, batch.label), strict=False):
            host_array(blob)[...] = values

    def state(self) -> dict[str, int | float | bytes]:
        """Position of the next record and the transformer's stream, right after the last batch handed out."""
        position, draws = self._reading().state
        return {"position": position, "transform_draws": draws, "transform_key": self.stream.key.tobytes()}

    def load_state(self, state: dict[str, int | float | bytes]) -> None:
        try:
            position, draws = int(state["position"]), int(state["transform_draws"])
            key = state["transform_key"]
        except KeyError as error:
            raise DataError(f"{self.where}: the snapshot holds no {error.args[0]}") from None
        if not isinstance(key, bytes) or len(key) != self.stream.key.nbytes:
            raise DataError(f"{self.where}: the snapshot's transform_key is damaged")
        self._reading().seek(position, draws)  # the thread stands still until the next batch is asked for
        self.stream.key = np.frombuffer(key, np.uint64)

    def close(self) -> None:
        if self.batches is not None:
            self.batches.close()

    def _reading(self) -> Prefetcher:
        if self.batches is None:
            raise DataError(f"{self.where}: is not set up")
        return self.batches
