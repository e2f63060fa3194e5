"""The layer type Parameter."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import Layer, register
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb

__all__ = ["Parameter"]


@register()
class Parameter(Layer):
    """A learned blob as a top.

    As in Caffe the blob and the top share their arrays. So the gradient is what the readers of the top wrote last: it
    is not accumulated over the passes of iter_size.
    """

    type = "Parameter"
    settings = ("parameter_param",)
    bottoms = (0, 0)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if not self.param.parameter_param.HasField("shape"):
            self.bad_param("parameter_param needs a shape")
        self.add_blob(tuple(self.param.parameter_param.shape.dim), pb.FillerParameter())

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].reshape(self.blobs[0].shape)
        top[0].share_data(self.blobs[0])
        top[0].share_diff(self.blobs[0])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        pass

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        pass
