"""Launches pooling.cu and stochastic.cu: maximum (with its mask), average and random choice, over one axis or two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dragon.bases.layer import TRAIN
from dragon.engines.cuda.lowerings.draws import EACH, Drawing
from dragon.engines.cuda.lowerings.lowering import lowers
from dragon.engines.cuda.lowerings.windows import spread_out, widened
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb

__all__ = ["PoolingLowering"]

FILE = "pooling"
STOCHASTIC = "stochastic"


@lowers("Pooling")
class PoolingLowering(Drawing):
    half = True
    wide_tops = (1,)  # the mask

    @classmethod
    def takes(cls, layer: Any, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return bottom[0].ndim <= 4 and bottom[0].count > 0

    @property
    def draws(self) -> bool:
        return self.draws_in(self.layer)

    @staticmethod
    def draws_in(layer: Any) -> bool:
        """Whether this Pooling layer draws in its present phase."""
        return bool(layer.method == pb.PoolingParameter.STOCHASTIC and layer.phase == TRAIN)

    def _window(self, x: Any, y: Any) -> tuple[int, ...]:
        w = widened(self.layer.window)
        sizes = (spread_out(array, array.shape).shape[2:] for array in (x, y))
        return (*next(sizes), *next(sizes), *w.kernel, *w.stride, *w.before)

    def _index(self, shape: tuple[int, ...]) -> Any:
        """For each output the index in its plane of the element that it shows."""
        return self.room("mask", shape, "int32")

    def _sums(self, count: int) -> Any:
        return self.room("sums", 2 * count)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data, top[0].data
        window, method = self._window(x, y), self.layer.method
        self._drew = self.draws
        if method == pb.PoolingParameter.MAX:
            shown = top[1].data if len(top) > 1 else None
            self.spread(FILE, "max_forward", y.size, x, y, self._index(y.shape), shown, y.size, *window)
        elif method == pb.PoolingParameter.AVE:
            self.spread(FILE, "average_forward", y.size, x, y, y.size, *window)
        elif self._drew:
            index = self._index(y.shape)
            self.spread(
                STOCHASTIC, "stochastic_forward", y.size, x, y, index, self.stream, y.size, *window, each=EACH
            )  # fmt: skip
        else:
            self.spread(STOCHASTIC, "stochastic_mean", y.size, x, y, self._sums(y.size), y.size, *window)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dy, dx = top[0].diff, bottom[0].diff
        window, method = self._window(dx, dy), self.layer.method
        if method == pb.PoolingParameter.AVE:
            self.spread(FILE, "average_backward", dx.size, dy, dx, dx.size, *window)
        elif method == pb.PoolingParameter.MAX or self._drew:
            self.spread(FILE, "max_backward", dx.size, dy, self._index(dy.shape), dx, dx.size, *window)
        else:
            x, sums = bottom[0].data, self._sums(dy.size)
            self.spread(
                STOCHASTIC, "stochastic_mean_backward", dx.size, x, dy, sums, dx, dx.size, dy.size, *window
            )  # fmt: skip
