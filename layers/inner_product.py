"""The layer type InnerProduct."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from dragon.bases.layer import register
from dragon.bases.weighted import Weighted
from dragon.counting import how_many
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["InnerProduct"]


@register()
class InnerProduct(Weighted):
    """y = x W^T + b over the axes from `axis` on; with `transpose`, y = x W + b.

    Blobs: weight (num_output, K), or (K, num_output) with `transpose`; bias (num_output). K is the product of those
    axes.
    """

    type = "InnerProduct"
    settings = ("inner_product_param",)
    family = "inner product"
    runs_in_int8 = True

    @property
    def transposed(self) -> bool:
        """Whether the weight is stored as (K, num_output)."""
        return self.param.inner_product_param.transpose

    @property
    def output_axis(self) -> int:
        return 1 if self.transposed else 0

    @classmethod
    def scale_outputs(cls, param: pb.LayerParameter, weight: NDArray[Any], factors: NDArray[Any]) -> NDArray[Any]:
        if not param.inner_product_param.transpose:
            return super().scale_outputs(param, weight, factors)
        scaled: NDArray[Any] = weight.reshape(-1, len(factors)) * factors
        return scaled.reshape(weight.shape)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.inner_product_param
        if p.num_output < 1:
            self.bad_param("num_output must be at least 1")
        axis = self.axis(p.axis, bottom[0].ndim)
        inputs = math.prod(bottom[0].shape[axis:])
        self.inputs = inputs
        shape = (inputs, p.num_output) if p.transpose else (p.num_output, inputs)
        self.add_blob(shape, p.weight_filler, "weight")
        if p.bias_term:
            self.add_blob((p.num_output,), p.bias_filler, "bias")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.inner_product_param
        shape = bottom[0].shape
        axis = self.axis(p.axis, len(shape))
        if math.prod(shape[axis:]) != self.inputs:
            self.bad_shape(f"has weights for {how_many(self.inputs, 'input')}, got a bottom of shape {shape}")
        self.rows = math.prod(shape[:axis])
        top[0].reshape(*shape[:axis], p.num_output)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data.reshape(self.rows, self.inputs), top[0].data.reshape(self.rows, -1)
        weight = self.weight.data if self.transposed else self.weight.data.T
        xp_of(x).matmul(x, weight, out=y)
        if self.bias is not None:
            y += self.bias.data

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy, x = top[0].diff.reshape(self.rows, -1), bottom[0].data.reshape(self.rows, self.inputs)
        self.weight.diff[...] += x.T @ dy if self.transposed else dy.T @ x
        if self.bias is not None:
            self.bias.diff[...] += dy.sum(axis=0)
        if propagate_down[0]:
            weight = self.weight.data.T if self.transposed else self.weight.data
            xp_of(dy).matmul(dy, weight, out=bottom[0].diff.reshape(self.rows, self.inputs))
