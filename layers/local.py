"""The layer type Local."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.coordinates import Coordinates, of_positions
from dragon.bases.geometry import Window, fold, read_window, unfold
from dragon.bases.layer import Layer, register
from dragon.memory.blob import Blob
from dragon.memory.scratch import Scratch
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["Local"]


@register()
class Local(Layer):
    """A convolution with weights of its own at each position, without groups (locally connected).

    bottom: (N, C, *size), of the size that the layer was set up with; top: (N, num_output, *positions). Blobs: weight
    (num_output, 1, C * kernel elements, positions), bias (1, 1, num_output, positions), as in caffe-windows.
    """

    type = "Local"
    settings = ("local_param",)
    family = "convolution"
    bottoms = (1, 1)
    tops = (1, 1)
    window: Window

    @classmethod
    def coordinates(cls, param: pb.LayerParameter) -> Coordinates:
        return of_positions(param.local_param, 1)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p, shape = self.param.local_param, bottom[0].shape
        if len(shape) < 3:
            self.bad_shape(f"needs a bottom (N, C, spatial axes), got one of shape {shape}")
        if p.num_output < 1:
            self.bad_param("num_output must be at least 1")
        self.window = read_window(self, p, len(shape) - 2)
        self.expected = shape[1:]
        self.positions = self.window.positions(shape[2:])
        if min(self.positions) < 1:
            self.bad_shape(f"a kernel of {self.window.kernel} does not fit into a bottom of shape {shape}")
        self.scratch = Scratch()
        count = math.prod(self.positions)
        self.add_blob((p.num_output, 1, shape[1] * math.prod(self.window.kernel), count), p.weight_filler, "weight")
        if p.bias_term:
            self.add_blob((1, 1, p.num_output, count), p.bias_filler, "bias")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if shape[1:] != self.expected:
            self.bad_shape(
                f"has weights for each position of a bottom (N, {', '.join(map(str, self.expected))}), got {shape}"
            )
        if top[0] is bottom[0]:
            self.bad_param("cannot work in place")
        top[0].reshape(shape[0], self.param.local_param.num_output, *self.positions)

    def multiply_adds(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        return bottom[0].shape[0] * self.blobs[0].count

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        y = top[0].data
        n, outputs = y.shape[:2]
        xp = xp_of(y)
        # for each position (num_output, elements) x (elements, N)
        products = xp.matmul(self._weight(self.blobs[0].data), self._columns(bottom[0].data).transpose(2, 1, 0))
        flat = y.reshape(n, outputs, math.prod(self.positions))
        flat[...] = products.transpose(2, 1, 0)
        if self.param.local_param.bias_term:
            flat += self.blobs[1].data[0]

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy = top[0].diff
        n, outputs = dy.shape[:2]
        xp = xp_of(dy)
        dy = dy.reshape(n, outputs, math.prod(self.positions)).transpose(2, 1, 0)  # (positions, num_output, N)
        if self.param.local_param.bias_term:
            self.blobs[1].diff[0, 0] += dy.sum(axis=2).T
        columns = self._columns(bottom[0].data)
        self.blobs[0].diff[:, 0] += xp.matmul(dy, columns.transpose(2, 0, 1)).transpose(1, 2, 0)
        if propagate_down[0]:
            dx = bottom[0].diff
            weight = self._weight(self.blobs[0].data)
            columns[...] = xp.matmul(weight.swapaxes(1, 2), dy).transpose(2, 1, 0)
            fold(columns.reshape(*dx.shape[:2], *self.window.kernel, *self.positions), self.window, dx, self.scratch)

    def _columns(self, x: Array) -> Array:
        """The content of each window, (N, C * kernel elements, positions)."""
        columns = self.scratch.get("columns", (*x.shape[:2], *self.window.kernel, *self.positions), x)
        unfold(x, self.window, columns, self.scratch)
        return columns.reshape(x.shape[0], self.blobs[0].shape[2], math.prod(self.positions))

    @staticmethod
    def _weight(weight: Array) -> Array:
        """The weight as (positions, num_output, elements)."""
        return weight[:, 0].transpose(2, 0, 1)
