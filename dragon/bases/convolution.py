"""What Convolution and Deconvolution share: settings, blobs, and products with unfolded windows.

A convolution maps `wide` images (its bottom) to `narrow` ones (its top); a deconvolution is the same the other way
round. With `columns` the unfolded wide image and W (groups, narrow channels, wide channels * kernel):

    narrow = W columns        d wide = fold(W^T d narrow)        dW = d narrow columns^T
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
    """bottoms: any number of (..., C, *size), tops (..., num_output, *size'), `axis` counts the channels' place."""

    settings = ("convolution_param",)
    family = "convolution"
    bottoms = (1, None)
    tops = (1, None)
    equal_bottom_top = True
    window: Window

    # -- settings ---------------------------------------------------------------------------------------------
    @property
    def group(self) -> int:
        return self.param.convolution_param.group

    def weight_shape(self, channels: int) -> tuple[int, ...]:
        raise NotImplementedError

    def output_size(self, size: Sequence[int]) -> tuple[int, ...]:
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
    def _matrix(self, weight: Array, narrow_channels: int) -> Array:
        return weight.reshape(self.group, narrow_channels // self.group, -1)

    def _chunks(self, wide: Array, narrow: Array) -> Iterator[tuple[slice, Array]]:
        """Slices of the images with room for their columns, (n, group, wide channels * kernel, positions)."""
        per_image = wide.shape[1] * math.prod(self.window.kernel) * math.prod(narrow.shape[2:])
        step = wide.shape[0]
        if isinstance(wide, np.ndarray):
            step = max(1, _COLUMN_BYTES // max(1, per_image * wide.itemsize))
        for start in range(0, wide.shape[0], step):
            part = slice(start, min(start + step, wide.shape[0]))
            n = part.stop - part.start
            shape = (n, wide.shape[1], *self.window.kernel, *narrow.shape[2:])
            yield part, self.scratch.get("columns", shape, wide)

    def _flat(self, columns: Array, narrow: Array) -> Array:
        positions = math.prod(narrow.shape[2:])
        rows = math.prod(columns.shape[1:]) // max(1, self.group * positions)  # no -1 in an empty batch
        return columns.reshape(columns.shape[0], self.group, rows, positions)

    def _grouped(self, narrow: Array) -> Array:
        """(n, group, channels of a group, positions)."""
        n, channels = narrow.shape[:2]
        return narrow.reshape(n, self.group, channels // self.group, math.prod(narrow.shape[2:]))

    def _unfolded(self, wide: Array, columns: Array) -> Array:
        if self.window.is_pointwise:
            return wide
        unfold(wide, self.window, columns, self.scratch)
        return columns

    def narrow_from_wide(self, wide: Array, weight: Array, narrow: Array, bias: Array | None = None) -> None:
        """narrow = W unfold(wide) + bias."""
        xp, matrix = xp_of(wide), self._matrix(weight, narrow.shape[1])
        for part, room in self._chunks(wide, narrow):
            out = self._grouped(narrow[part])
            xp.matmul(matrix, self._flat(self._unfolded(wide[part], room), narrow), out=out)
            if bias is not None:
                out += bias.reshape(self.group, -1, 1)

    def wide_from_narrow(self, narrow: Array, weight: Array, wide: Array, bias: Array | None = None) -> None:
        """wide = fold(W^T narrow) + bias."""
        xp, matrix = xp_of(wide), self._matrix(weight, narrow.shape[1]).swapaxes(1, 2)
        for part, room in self._chunks(wide, narrow):
            columns = wide[part] if self.window.is_pointwise else room
            xp.matmul(matrix, self._grouped(narrow[part]), out=self._flat(columns, narrow))
            if not self.window.is_pointwise:
                fold(room, self.window, wide[part], self.scratch)
            if bias is not None:
                images = wide[part].reshape(-1, wide.shape[1], math.prod(wide.shape[2:]))
                images += bias[:, None]

    def weight_gradient(self, wide: Array, narrow_diff: Array) -> Array:
        """Sum over the images of narrow_diff unfold(wide)^T, in the weight's shape."""
        xp = xp_of(wide)
        total: Array = xp.zeros(self.weight.shape, wide.dtype)
        matrix = self._matrix(total, narrow_diff.shape[1])
        for part, room in self._chunks(wide, narrow_diff):
            columns = self._flat(self._unfolded(wide[part], room), narrow_diff)
            matrix += xp.matmul(self._grouped(narrow_diff[part]), columns.swapaxes(2, 3)).sum(axis=0)
        return total

    def learn_bias(self, top_diff: Array) -> None:
        """Add the bias's gradient."""
        if self.bias is not None:
            self.bias.diff[...] += channel_sum(top_diff.reshape(*top_diff.shape[:2], -1))
