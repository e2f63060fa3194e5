"""The layer type Embed."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.indices import checked_indices
from dragon.bases.layer import register
from dragon.bases.no_gradient import NoGradient
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of

__all__ = ["Embed"]


@register()
class Embed(NoGradient):
    """y = W[x] + b: for each index in the bottom, that row of a learned table.

    Bottom: indices (...). Top: (..., num_output). Blobs: weight (input_dim, num_output), bias (num_output). Forward
    raises DataError for an index that is out of range.
    """

    type = "Embed"
    settings = ("embed_param",)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.embed_param
        for name in ("num_output", "input_dim"):
            if getattr(p, name) < 1:
                self.bad_param(f"{name} must be at least 1")
        self.add_blob((p.input_dim, p.num_output), p.weight_filler, "weight")
        if p.bias_term:
            self.add_blob((p.num_output,), p.bias_filler, "bias")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].reshape(*bottom[0].shape, self.param.embed_param.num_output)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        weight, y = self.blobs[0].data, top[0].data
        self.indices = checked_indices(self, bottom[0].data, weight.shape[0], "index")
        y[...] = weight[self.indices].reshape(y.shape)
        if self.param.embed_param.bias_term:
            y += self.blobs[1].data

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        super().backward(top, propagate_down, bottom)
        dy = top[0].diff.reshape(-1, self.param.embed_param.num_output)
        dw = self.blobs[0].diff
        xp_of(dw).add.at(dw, self.indices, dy)
        if self.param.embed_param.bias_term:
            self.blobs[1].diff[...] += dy.sum(axis=0)
