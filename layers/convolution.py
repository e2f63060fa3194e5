"""The layer type Convolution."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.convolution import ConvolutionBase
from dragon.bases.coordinates import Coordinates, of_positions
from dragon.bases.layer import register
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb

__all__ = ["Convolution"]


@register()
class Convolution(ConvolutionBase):
    """Convolution over any number of spatial axes, with groups, strides, padding and dilation.

    Reading a net moves what C3D (Convolution3D: kernel_depth, temporal_stride, temporal_pad) and video-caffe
    (NdConvolution: kernel_shape, stride_shape, pad_shape) write to kernel_size, stride and pad, given for each axis.

    Blobs: weight (num_output, C / group, *kernel), bias (num_output).
    """

    type = "Convolution"
    runs_in_int8 = True

    @classmethod
    def coordinates(cls, param: pb.LayerParameter) -> Coordinates:
        return of_positions(param.convolution_param, param.convolution_param.axis)

    def weight_shape(self, channels: int) -> tuple[int, ...]:
        return (self.num_output, channels // self.group, *self.window.kernel)

    def output_size(self, size: Sequence[int]) -> tuple[int, ...]:
        return self.window.positions(size)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        weight, bias = self.weight.data, None if self.bias is None else self.bias.data
        for b, t in zip(bottom, top, strict=True):
            x, y = b.data.reshape(self.bottom_view), t.data.reshape(self.top_view)
            self.products.convolve(x, weight, y, bias)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        for b, t, down in zip(bottom, top, propagate_down, strict=True):
            dy = t.diff.reshape(self.top_view)
            self.accumulate_bias_diff(dy)
            self.weight.diff[...] += self.products.weight_gradient(b.data.reshape(self.bottom_view), dy)
            if down:
                self.products.convolve_transposed(dy, self.weight.data, b.diff.reshape(self.bottom_view))
