"""Parameter: a learned blob that is a top.

As in Caffe the two share their arrays, so the gradient is what the top's readers wrote last: it does not add up over
the passes of iter_size.
"""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import Layer, register
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb

__all__ = ["Parameter"]


@register()
class Parameter(Layer):
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
