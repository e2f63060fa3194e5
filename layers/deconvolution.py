"""The layer type Deconvolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from dragon.bases.convolution import ConvolutionBase
from dragon.bases.coordinates import Coordinates, of_covered
from dragon.bases.layer import register
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb

__all__ = ["Deconvolution"]


@register()
class Deconvolution(ConvolutionBase):
    """Transposed convolution, the gradient of a convolution as a layer: strides above 1 enlarge its output.

    Blobs: weight (C, num_output / group, *kernel), bias (num_output).
    """

    type = "Deconvolution"

    @classmethod
    def coordinates(cls, param: pb.LayerParameter) -> Coordinates:
        return of_covered(param.convolution_param, param.convolution_param.axis)

    @classmethod
    def scale_outputs(cls, param: pb.LayerParameter, weight: NDArray[Any], factors: NDArray[Any]) -> NDArray[Any]:
        """As in `Weighted`, for a weight (inputs, outputs / group, *kernel) with the inputs ordered by group."""
        group = param.convolution_param.group
        grouped = weight.reshape(group, -1, len(factors) // group, *weight.shape[2:])
        scaled: NDArray[Any] = grouped * factors.reshape(group, 1, -1, *[1] * (weight.ndim - 2))
        return scaled.reshape(weight.shape)

    def multiply_adds(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Multiply-adds of one forward pass: for each element of a bottom, the elements of one row of the weight."""
        return sum(blob.count for blob in bottom) * (self.weight.count // self.weight.shape[0])

    def weight_shape(self, channels: int) -> tuple[int, ...]:
        return (channels, self.num_output // self.group, *self.window.kernel)

    def output_size(self, size: Sequence[int]) -> tuple[int, ...]:
        return self.window.covered(size)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        weight, bias = self.weight.data, None if self.bias is None else self.bias.data
        for b, t in zip(bottom, top, strict=True):
            x, y = b.data.reshape(self.bottom_view), t.data.reshape(self.top_view)
            self.products.convolve_transposed(x, weight, y, bias)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        for b, t, down in zip(bottom, top, propagate_down, strict=True):
            dy = t.diff.reshape(self.top_view)
            self.accumulate_bias_diff(dy)
            self.weight.diff[...] += self.products.weight_gradient(dy, b.data.reshape(self.bottom_view))
            if down:
                self.products.convolve(dy, self.weight.data, b.diff.reshape(self.bottom_view))
