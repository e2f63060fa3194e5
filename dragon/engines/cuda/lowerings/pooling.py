"""Pooling over one to three axes: maximum and average by small_pooling.cu, pooling.cu and volume_pooling.cu.

The random choice of STOCHASTIC, over one or two axes, is in stochastic.cu.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dragon.bases.layer import TRAIN
from dragon.engines.cuda.kernels import pooling as kernels
from dragon.engines.cuda.kernels import stochastic
from dragon.engines.cuda.kernels import volume_pooling as volume
from dragon.engines.cuda.lowerings.lowering import lowers
from dragon.engines.cuda.lowerings.pooling_last import MOST_PLACES, backward_last, forward_last
from dragon.engines.cuda.lowerings.pooling_small import SmallPooling, small_pooling
from dragon.engines.cuda.lowerings.random import RandomLowering
from dragon.engines.cuda.lowerings.windows import MOST_AXES, at_least_2d, named, spread_out, window_sizes
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb

__all__ = ["PoolingLowering"]


@lowers("Pooling")
class PoolingLowering(RandomLowering):
    """Pooling over one to three axes: MAX and AVE; STOCHASTIC over one or two."""

    half = True
    float32_tops = (1,)  # the mask

    @classmethod
    def takes(cls, layer: Any, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        if cls.is_random_layer(layer) and cls.shares_draws(layer):
            return False
        most = 4 if layer.method == pb.PoolingParameter.STOCHASTIC else 2 + MOST_AXES
        return bottom[0].ndim <= most and bottom[0].count > 0

    @classmethod
    def takes_channels_last(cls, layer: Any, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        if layer.method == pb.PoolingParameter.MAX:
            return len(top) == 1 and math.prod(layer.window.kernel) <= MOST_PLACES
        return bool(layer.method == pb.PoolingParameter.AVE)

    @property
    def _in_3d(self) -> bool:
        return len(self.layer.window.kernel) > 2

    @property
    def is_random(self) -> bool:
        return self.is_random_layer(self.layer)

    @staticmethod
    def is_random_layer(layer: Any) -> bool:
        """Whether forward of this Pooling layer uses random numbers in its present phase."""
        return bool(layer.method == pb.PoolingParameter.STOCHASTIC and layer.phase == TRAIN)

    def _window(self, x: Any, y: Any) -> dict[str, int]:
        """The kernels' arguments."""
        inside, outside = (spread_out(array, array.shape) for array in (x, y))
        return window_sizes(at_least_2d(self.layer.window), inside, outside)

    def _counted(self) -> dict[str, int]:
        """The positions that an average counts, as the kernels' arguments; a single axis is the second of two."""
        counted = self.layer.counted if self._in_3d else [(0, 1), *self.layer.counted][-2:]
        first, end = zip(*counted, strict=True)
        return {**named("first_", first), **named("end_", end)}

    def _small(self, window: dict[str, int]) -> SmallPooling | None:
        """The kernels for the present window, if it is one of the usual small ones or as large as a plane."""
        method = self.layer.method
        if self._in_3d or method not in (pb.PoolingParameter.MAX, pb.PoolingParameter.AVE):
            return None
        return small_pooling(self, window, self._counted(), method == pb.PoolingParameter.MAX)

    def _index(self, shape: tuple[int, ...]) -> Any:
        """For each output the index in its plane of the element that it is."""
        return self.buffer("mask", shape, "int32")

    def _sums(self, count: int) -> Any:
        return self.buffer("sums", 2 * count)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data, top[0].data
        window, method = self._window(x, y), self.layer.method
        self._was_random = self.is_random
        if self.channels_last:
            forward_last(self, x, y, {**window, **self._counted()}, method == pb.PoolingParameter.MAX)
            return
        top_mask = top[1].data if len(top) > 1 else None
        small = self._small(window)
        if small is not None:
            small.forward(x, y, top_mask, method == pb.PoolingParameter.MAX)
        elif method == pb.PoolingParameter.MAX:
            mask = self._index(y.shape)
            kernel = volume.max_forward_3d if self._in_3d else kernels.max_forward
            self.launch(kernel, x=x, y=y, mask=mask, top_mask=top_mask, count=y.size, **window)
        elif method == pb.PoolingParameter.AVE:
            kernel = volume.average_forward_3d if self._in_3d else kernels.average_forward
            self.launch(kernel, x=x, y=y, count=y.size, **window, **self._counted())
        elif self._was_random:
            chosen, stream = self._index(y.shape), self.stream
            self.launch(
                stochastic.stochastic_forward, x=x, y=y, chosen=chosen, stream=stream, count=y.size, **window
            )  # fmt: skip
        else:
            self.launch(stochastic.stochastic_mean, x=x, y=y, sums=self._sums(y.size), count=y.size, **window)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dy, dx = top[0].diff, bottom[0].diff
        window, method = self._window(dx, dy), self.layer.method
        if self.channels_last:
            backward_last(self, dy, dx, {**window, **self._counted()}, method == pb.PoolingParameter.MAX)
            return
        small = self._small(window)
        if small is not None:
            small.backward(dy, dx, method == pb.PoolingParameter.MAX)
        elif method == pb.PoolingParameter.AVE:
            kernel = volume.average_backward_3d if self._in_3d else kernels.average_backward
            self.launch(kernel, dy=dy, dx=dx, count=dx.size, **window, **self._counted())
        elif method == pb.PoolingParameter.MAX or self._was_random:
            kernel = volume.max_backward_3d if self._in_3d else kernels.max_backward
            self.launch(kernel, dy=dy, mask=self._index(dy.shape), dx=dx, count=dx.size, **window)
        else:
            x, sums = bottom[0].data, self._sums(dy.size)
            self.launch(
                stochastic.stochastic_mean_backward, x=x, dy=dy, sums=sums, dx=dx, count=dx.size, outputs=dy.size,
                **window,
            )  # fmt: skip
