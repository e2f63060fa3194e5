"""Convolution and deconvolution in 1 to 3 dimensions: groups, depthwise, dilation, bias, post-ops."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from dragon.engines.onednn.kernels.weighted import backward_data, backward_weights, forward, forward_int8
from dragon.engines.onednn.library.binding import dims
from dragon.engines.onednn.library.constants import Alg, DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc, Shape

__all__ = ["ConvSpec", "backward_data", "backward_weights", "forward", "forward_int8"]


@dataclass(frozen=True)
class ConvSpec:
    """Geometry of a convolution, or with ``transposed`` of a deconvolution, with 1 to 3 spatial axes.

    ``src`` and ``dst`` are (N, C, spatial...). ``dilation`` counts from 1, as in a prototxt. ``dtype`` is
    that of src, weights and dst; their gradients follow, but diff_weights and biases stay float32.
    """

    src: Shape
    dst: Shape
    kernel: Shape
    stride: Shape
    pad: Shape
    dilation: Shape
    groups: int = 1
    bias: bool = True
    transposed: bool = False
    dtype: DataType = DataType.f32

    @property
    def weights(self) -> Shape:
        """Logical order of oneDNN: (groups,) outputs, inputs, kernel, per group."""
        outputs, inputs = self.dst[1] // self.groups, self.src[1] // self.groups
        return (*([self.groups] if self.groups > 1 else []), outputs, inputs, *self.kernel)

    def host_weights(self, dtype: DataType = DataType.f32) -> MemoryDesc:
        """The Caffe blob's row-major bytes in oneDNN's logical order.

        A convolution's blob is (outputs, inputs / groups, kernel). A deconvolution's is (inputs,
        outputs / groups, kernel): the same tensor with two strides exchanged.
        """
        if not self.transposed:
            return MemoryDesc.plain(self.weights, dtype)
        outputs, inputs = self.dst[1] // self.groups, self.src[1] // self.groups
        window = prod(self.kernel)
        inner = tuple(prod(self.kernel[i + 1 :]) for i in range(len(self.kernel)))
        group = [inputs * outputs * window] if self.groups > 1 else []
        return MemoryDesc.plain(self.weights, dtype, (*group, window, outputs * window, *inner))

    @property
    def family(self) -> str:
        """The prefix of the names of the C functions."""
        return "deconvolution" if self.transposed else "convolution"

    @property
    def algorithm(self) -> list[Any]:
        """The arguments before the descriptors."""
        return [Alg.deconvolution_direct if self.transposed else Alg.convolution_direct]

    @property
    def window(self) -> list[Any]:
        """Strides, dilations (0 is none), left padding, and the right padding that follows from the sizes."""
        wide, narrow = (self.dst, self.src) if self.transposed else (self.src, self.dst)
        right = []
        for axis, kernel in enumerate(self.kernel):
            covered = (narrow[axis + 2] - 1) * self.stride[axis] + (kernel - 1) * self.dilation[axis] + 1
            right.append(covered - wide[axis + 2] - self.pad[axis])
        # Where no window reaches the last column, the padding comes out negative; the floor rule drops that column.
        last = tuple(rest if self.transposed else max(rest, 0) for rest in right)
        return [dims(v) for v in (self.stride, tuple(d - 1 for d in self.dilation), self.pad, last)]
