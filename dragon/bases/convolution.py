"""Base of Convolution and Deconvolution: settings, blobs, and matrix products with unfolded windows.

`images` (n, C, *size) are what the windows slide over, `maps` (n, C', *positions) have a value for each position of a
window. A convolution computes maps (its top) from images (its bottom), a deconvolution images from maps. With `columns`
the unfolded images and W (groups, C' / groups, C / groups * kernel):

    maps = W columns        d images = fold(W^T d maps)        dW = d maps columns^T
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from dragon.bases.geometry import Window, fold, read_window, unfold
from dragon.bases.weighted import Weighted
from dragon.memory.blob import Blob
from dragon.memory.scratch import Scratch
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of
from dragon.normalization.arithmetic import channel_sum

__all__ = ["ConvolutionBase"]

_COLUMN_BYTES = 1 << 20  # images are unfolded a few at a time, so that their columns stay in the cache


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
            self.bad_param(f"group {p.group} must divide the {shape[axis]} channels and the {p.num_output} outputs")
        self.scratch = Scratch()
        self.add_blob(self.weight_shape(shape[axis]), p.weight_filler, "weight")
        if p.bias_term:
            self.add_blob((p.num_output,), p.bias_filler, "bias")

    # -- shapes -----------------------------------------------------------------------------------------------
    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        axis = self.axis(self.param.convolution_param.axis, len(shape))
        if len(shape) - axis - 1 != len(self.window.kernel):
            self.bad_shape(f"needs {len(self.window.kernel)} spatial axes, got a bottom of shape {shape}")
        if self.weight_shape(shape[axis]) != self.weight.shape:
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

    # -- products ---------------------------------------------------------------------------------------------
    def _matrix(self, weight: Array, map_channels: int) -> Array:
        return weight.reshape(self.group, map_channels // self.group, -1)

    def _chunks(self, images: Array, maps: Array) -> Iterator[tuple[slice, Array]]:
        """Slices of the images, each with a buffer (n, C, *kernel, *positions) for its columns."""
        per_image = images.shape[1] * math.prod(self.window.kernel) * math.prod(maps.shape[2:])
        step = images.shape[0]
        if isinstance(images, np.ndarray):
            step = max(1, _COLUMN_BYTES // max(1, per_image * images.itemsize))
        for start in range(0, images.shape[0], step):
            part = slice(start, min(start + step, images.shape[0]))
            n = part.stop - part.start
            shape = (n, images.shape[1], *self.window.kernel, *maps.shape[2:])
            yield part, self.scratch.get("columns", shape, images)

    def _flat(self, columns: Array, maps: Array) -> Array:
        positions = math.prod(maps.shape[2:])
        rows = math.prod(columns.shape[1:]) // max(1, self.group * positions)  # no -1 in an empty batch
        return columns.reshape(columns.shape[0], self.group, rows, positions)

    def _grouped(self, maps: Array) -> Array:
        """`maps` as (n, group, channels of a group, positions)."""
        n, channels = maps.shape[:2]
        return maps.reshape(n, self.group, channels // self.group, math.prod(maps.shape[2:]))

    def _unfolded(self, images: Array, columns: Array) -> Array:
        if self.window.is_pointwise:
            return images
        unfold(images, self.window, columns, self.scratch)
        return columns

    def convolve(self, images: Array, weight: Array, maps: Array, bias: Array | None = None) -> None:
        """Write maps = W unfold(images) + bias."""
        xp, matrix = xp_of(images), self._matrix(weight, maps.shape[1])
        for part, buffer in self._chunks(images, maps):
            out = self._grouped(maps[part])
            xp.matmul(matrix, self._flat(self._unfolded(images[part], buffer), maps), out=out)
            if bias is not None:
                out += bias.reshape(self.group, -1, 1)

    def convolve_transposed(self, maps: Array, weight: Array, images: Array, bias: Array | None = None) -> None:
        """Write images = fold(W^T maps) + bias."""
        xp, matrix = xp_of(images), self._matrix(weight, maps.shape[1]).swapaxes(1, 2)
        for part, buffer in self._chunks(images, maps):
            columns = images[part] if self.window.is_pointwise else buffer
            xp.matmul(matrix, self._grouped(maps[part]), out=self._flat(columns, maps))
            if not self.window.is_pointwise:
                fold(buffer, self.window, images[part], self.scratch)
            if bias is not None:
                flat = images[part].reshape(-1, images.shape[1], math.prod(images.shape[2:]))
                flat += bias[:, None]

    def weight_gradient(self, images: Array, maps_diff: Array) -> Array:
        """The gradient of the weight, in its shape: the sum over the images of maps_diff unfold(images)^T."""
        xp = xp_of(images)
        total: Array = xp.zeros(self.weight.shape, images.dtype)
        matrix = self._matrix(total, maps_diff.shape[1])
        for part, buffer in self._chunks(images, maps_diff):
            columns = self._flat(self._unfolded(images[part], buffer), maps_diff)
            matrix += xp.matmul(self._grouped(maps_diff[part]), columns.swapaxes(2, 3)).sum(axis=0)
        return total

    def accumulate_bias_diff(self, top_diff: Array) -> None:
        """Add the gradient of the bias, if there is one, to its diff."""
        if self.bias is not None:
            self.bias.diff[...] += channel_sum(top_diff.reshape(*top_diff.shape[:2], -1))
