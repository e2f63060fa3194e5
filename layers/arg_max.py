"""The layer type ArgMax."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.no_gradient import NoGradient
from dragon.counting import how_many
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of

__all__ = ["ArgMax"]


@register()
class ArgMax(NoGradient):
    """The indices or values of the `top_k` largest elements, largest first; ties go to the higher index, as in Caffe.

    Without `axis` each item is flattened: the top is (N, 1, top_k) with the indices or, with `out_max_val`, (N, 2,
    top_k) with the values in the second row. With `axis`, that axis shrinks to top_k and holds the indices or, with
    `out_max_val`, the values.
    """

    type = "ArgMax"
    settings = ("argmax_param",)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.argmax_param
        self.top_k: int = p.top_k
        self.values: bool = p.out_max_val
        if self.top_k < 1:
            self.bad_param("top_k must be at least 1, got 0")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.argmax_param
        shape = list(bottom[0].shape)
        self.along = self.axis(p.axis, len(shape)) if p.HasField("axis") else None
        if not shape:
            self.bad_shape("needs a bottom with at least one axis")
        size = math.prod(shape[1:]) if self.along is None else shape[self.along]
        if self.top_k > size:
            self.bad_shape(f"top_k is {self.top_k} of {how_many(size, 'value')} in a bottom of shape {bottom[0].shape}")
        if self.along is None:
            shape = [shape[0], 1 + self.values, self.top_k, *([1] * (len(shape) - 3))]
        else:
            shape[self.along] = self.top_k
        top[0].reshape(shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data
        xp = xp_of(x)
        along = 1 if self.along is None else self.along
        if self.along is None:
            x = x.reshape(x.shape[0], -1)
        backwards = xp.flip(x, along)  # ties then go to the higher index
        if self.top_k == 1:
            order = xp.expand_dims(backwards.argmax(axis=along), along)
        else:
            order = xp.argsort(-backwards, axis=along, kind="stable")
            order = order[(*([slice(None)] * along), slice(self.top_k))]
        index = x.shape[along] - 1 - order
        y = top[0].data
        if self.along is None:
            y = y.reshape(y.shape[:3])
            y[:, 0] = index
            if self.values:
                y[:, 1] = xp.take_along_axis(x, index, axis=1)
        else:
            y[...] = xp.take_along_axis(x, index, axis=along) if self.values else index
