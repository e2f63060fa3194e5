"""Pooling over one to three axes, alone or with the ReLU in place on its top or its bottom: see pool.py.

The random choice of STOCHASTIC, over one or two axes, is in stochastic.cu.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dragon.bases.layer import TRAIN
from dragon.engines.cuda.device.device import Device
from dragon.engines.cuda.kernels import elementwise, stochastic
from dragon.engines.cuda.kernels import pooling as kernels
from dragon.engines.cuda.lowerings.elementwise import element_wise
from dragon.engines.cuda.lowerings.lowering import Lowering, lowers
from dragon.engines.cuda.lowerings.pool import Pool, WithReLU
from dragon.engines.cuda.lowerings.pooling_last import MOST_PLACES
from dragon.engines.cuda.lowerings.random import RandomLowering
from dragon.engines.cuda.lowerings.windows import MOST_AXES
from dragon.graph.node import Node
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb

__all__ = [
    "PoolingLowering",
    "PoolingReLULowering",
    "ReLUPoolingLowering",
    "fits_with_relu",
    "pool_rectified",
    "rectified_backward",
]

MAX, AVE, STOCHASTIC = pb.PoolingParameter.MAX, pb.PoolingParameter.AVE, pb.PoolingParameter.STOCHASTIC
MOST_MARKED = MOST_PLACES // 2  # elements of a window whose maximum's place, kept in a byte, can be marked


@lowers("Pooling")
class PoolingLowering(RandomLowering):
    """Pooling over one to three axes: MAX and AVE; STOCHASTIC over one or two."""

    half = True
    float32_tops = (1,)  # the mask

    @classmethod
    def takes(cls, layer: Any, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        if cls.is_random_layer(layer) and cls.shares_draws(layer):
            return False
        most = 4 if layer.method == STOCHASTIC else 2 + MOST_AXES
        return bottom[0].ndim <= most and bottom[0].count > 0

    @classmethod
    def takes_channels_last(cls, layer: Any, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        if layer.method == MAX:
            return len(top) == 1 and math.prod(layer.window.kernel) <= MOST_PLACES
        return bool(layer.method == AVE)

    @property
    def is_random(self) -> bool:
        return self.is_random_layer(self.layer)

    @staticmethod
    def is_random_layer(layer: Any) -> bool:
        """Whether forward of this Pooling layer uses random numbers in its present phase."""
        return bool(layer.method == STOCHASTIC and layer.phase == TRAIN)

    def _sums(self, count: int) -> Any:
        return self.buffer("sums", 2 * count)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y, pool = bottom[0].data, top[0].data, Pool(self, self.layer)
        self._was_random = self.is_random
        if self.layer.method != STOCHASTIC:
            pool.forward(x, y, top[1].data if len(top) > 1 else None)
        elif self._was_random:
            chosen, stream = pool.index(y.shape), self.stream
            self.launch(
                stochastic.stochastic_forward, x=x, y=y, chosen=chosen, stream=stream, count=y.size,
                **pool.window(x, y),
            )  # fmt: skip
        else:
            sums = self._sums(y.size)
            self.launch(stochastic.stochastic_mean, x=x, y=y, sums=sums, count=y.size, **pool.window(x, y))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dy, dx, pool = top[0].diff, bottom[0].diff, Pool(self, self.layer)
        if self.layer.method != STOCHASTIC:
            pool.backward(dy, dx)
        elif self._was_random:
            mask, window = pool.index(dy.shape), pool.window(dx, dy)
            self.launch(
                kernels.max_backward, dy=dy, mask=mask, dx=dx, masked=None, count=dx.size, **window, slope=0.0
            )  # fmt: skip
        else:
            x, sums = bottom[0].data, self._sums(dy.size)
            self.launch(
                stochastic.stochastic_mean_backward, x=x, dy=dy, sums=sums, dx=dx, count=dx.size, outputs=dy.size,
                **pool.window(dx, dy),
            )  # fmt: skip


def fits_with_relu(lowering: Lowering | None, behind: bool) -> bool:
    """Whether a Pooling layer's own lowering may be replaced by one with the ReLU in front of it, or `behind`."""
    if type(lowering) is not PoolingLowering or len(lowering.node.tops) > 1:
        return False
    if lowering.layer.method != MAX:
        return bool(lowering.layer.method == AVE) and not behind
    return math.prod(lowering.layer.window.kernel) <= MOST_MARKED or not lowering.channels_last


class PoolingReLULowering(Lowering):
    """Maximum pooling with the ReLU of this slope in place on its top."""

    half = True
    overwrites_top_diff = True

    def __init__(self, device: Device, node: Node, slope: float) -> None:
        super().__init__(device, node)
        self._slope = slope

    def on(self, device: Device) -> PoolingReLULowering:
        return type(self)(device, self.node, self._slope)

    @property
    def _pool(self) -> Pool:
        return Pool(self, self.layer, WithReLU(self._slope, behind=True))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._pool.forward(bottom[0].data, top[0].data)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            self._pool.backward(top[0].diff, bottom[0].diff)


class ReLUPoolingLowering(Lowering):
    """A ReLU of this slope in place, node, and the maximum or average pooling of its top by the layer `pooling`."""

    half = True

    def __init__(self, device: Device, node: Node, pooling: Any, slope: float) -> None:
        super().__init__(device, node)
        self._pooling, self._slope = pooling, slope

    def on(self, device: Device) -> ReLUPoolingLowering:
        return type(self)(device, self.node, self._pooling, self._slope)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data
        element_wise(self, elementwise.relu.forward, {"x": x, "out": x}, {"a": self._slope, "b": 0.0, "c": 0.0})
        pool_rectified(self, self._pooling, bottom[0], top[0], self._slope)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            rectified_backward(self, self._pooling, bottom[0], top[0], self._slope)


def pool_rectified(lowering: Lowering, pooling: Any, bottom: Blob, top: Blob, slope: float) -> None:
    """Launch the forward of the layer `pooling`, whose bottom a ReLU of this slope has made in place."""
    Pool(lowering, pooling, WithReLU(slope)).forward(bottom.data, top.data)


def rectified_backward(lowering: Lowering, pooling: Any, bottom: Blob, top: Blob, slope: float) -> None:
    """Launch the backward of both. Where maxima were taken, the bottom's data is not read."""
    x = bottom.data if pooling.method == AVE else None
    Pool(lowering, pooling, WithReLU(slope)).backward(top.diff, bottom.diff, x)
