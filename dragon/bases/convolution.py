"""Base of Convolution and Deconvolution: settings, blobs and shapes.

A convolution computes maps (its top) from images (its bottom), a deconvolution images from maps: see
`dragon.bases.window_products`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.geometry import Window, read_window
from dragon.bases.weighted import Weighted
from dragon.bases.window_products import WindowProducts
from dragon.counting import how_many
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.normalization.arithmetic import channel_sum

__all__ = ["ConvolutionBase"]


class ConvolutionBase(Weighted):
    """Bottoms, any number: (..., C, *size); tops: (..., num_output, *size'). `axis` is the axis of the channels.

    Raises PrototxtError for bad settings, ShapeError for bottoms that do not fit the weights or the kernel.
    """

    settings = ("convolution_param",)
    family = "convolution"
    bottoms = (1, None)
    tops = (1, None)
    equal_bottom_top = True
    window: Window

    # -- settings ---------------------------------------------------------------------------------------------
    @property
    def group(self) -> int:
        """Number of groups that the channels are split into."""
        return self.param.convolution_param.group

    def weight_shape(self, channels: int) -> tuple[int, ...]:
        """Shape of the weight for a bottom with this many channels."""
        raise NotImplementedError

    def output_size(self, size: Sequence[int]) -> tuple[int, ...]:
        """Spatial size of the top for a bottom of spatial size `size`."""
        raise NotImplementedError

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.convolution_param
        shape = bottom[0].shape
        axis = self.axis(p.axis, len(shape))
        self.window = read_window(self, p, len(shape) - axis - 1)
        if p.num_output < 1:
            self.bad_param("num_output must be at least 1")
        if p.group < 1 or shape[axis] % p.group or p.num_output % p.group:
            self.bad_param(
                f"group {p.group} must divide the {how_many(shape[axis], 'channel')} and the "
                f"{how_many(p.num_output, 'output')}"
            )
        self.products = WindowProducts(self.window, self.group)
        self.add_blob(self.weight_shape(shape[axis]), p.weight_filler, "weight")
        if p.bias_term:
            self.add_blob((p.num_output,), p.bias_filler, "bias")

    # -- shapes -----------------------------------------------------------------------------------------------
    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        axis = self.axis(self.param.convolution_param.axis, len(shape))
        if len(shape) - axis - 1 != len(self.window.kernel):
            self.bad_shape(f"needs {how_many(len(self.window.kernel), 'spatial axis')}, got a bottom of shape {shape}")
        if shape[axis] % self.group or self.weight_shape(shape[axis]) != self.weight.shape:
            self.bad_shape(f"weights of shape {self.weight.shape} do not fit a bottom of shape {shape}")
        size = self.output_size(shape[axis + 1 :])
        if size and min(size) < 1:
            self.bad_shape(f"a kernel of {self.window.extent} does not fit into a bottom of shape {shape}")
        for b, t in zip(bottom, top, strict=True):
            if b.shape != shape:
                self.bad_shape(f"all bottoms must have the shape {shape}, got {b.shape}")
            if t is b:
                self.bad_param("cannot work in place")
            t.reshape(*shape[:axis], self.num_output, *size)
        lead = math.prod(shape[:axis])
        self.bottom_view = (lead, shape[axis], *shape[axis + 1 :])
        self.top_view = (lead, self.num_output, *size)

    def accumulate_bias_diff(self, top_diff: Array) -> None:
        """Add the gradient of the bias, if there is one, to its diff."""
        if self.bias is not None:
            self.bias.diff[...] += channel_sum(top_diff.reshape(*top_diff.shape[:2], -1))
