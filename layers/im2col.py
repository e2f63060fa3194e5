"""The layer type Im2col."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.coordinates import Coordinates, of_positions
from dragon.bases.geometry import fold, read_window, unfold
from dragon.bases.layer import Layer, register
from dragon.counting import how_many
from dragon.memory.blob import Blob
from dragon.memory.scratch import Scratch
from dragon.proto import dragon_pb2 as pb

__all__ = ["Im2col"]


@register()
class Im2col(Layer):
    """Every window of the bottom (..., C, *size) as a column: (..., C * kernel, *positions)."""

    type = "Im2col"
    settings = ("convolution_param",)

    @classmethod
    def coordinates(cls, param: pb.LayerParameter) -> Coordinates:
        return of_positions(param.convolution_param, param.convolution_param.axis)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.convolution_param
        shape = bottom[0].shape
        self.window = read_window(self, p, len(shape) - self.axis(p.axis, len(shape)) - 1)
        self._scratch = Scratch()

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        axis = self.axis(self.param.convolution_param.axis, len(shape))
        kernel = self.window.kernel
        if len(shape) - axis - 1 != len(kernel):
            self.bad_shape(f"needs {how_many(len(kernel), 'spatial axis')}, got a bottom of shape {shape}")
        positions = self.window.positions(shape[axis + 1 :])
        if positions and min(positions) < 1:
            self.bad_shape(f"a kernel of {self.window.extent} does not fit into a bottom of shape {shape}")
        top[0].reshape(*shape[:axis], shape[axis] * math.prod(kernel), *positions)
        lead = math.prod(shape[:axis])
        self._images = (lead, *shape[axis:])
        self._columns = (lead, shape[axis], *kernel, *positions)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data.reshape(self._images), top[0].data.reshape(self._columns)
        unfold(x, self.window, y, self._scratch)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            dy, dx = top[0].diff.reshape(self._columns), bottom[0].diff.reshape(self._images)
            fold(dy, self.window, dx, self._scratch)
