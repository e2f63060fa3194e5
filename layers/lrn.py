"""The layer type LRN."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.geometry import Window
from dragon.bases.layer import Layer, register
from dragon.bases.pooling import average
from dragon.memory.blob import Blob
from dragon.memory.scratch import Scratch, parts
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["LRN"]


@register()
class LRN(Layer):
    """Local response normalisation (Krizhevsky et al. 2012): y = x / (k + alpha / n * sum of x^2 nearby) ^ beta.

    ACROSS_CHANNELS sums over `local_size` channels around each, and n is local_size. WITHIN_CHANNEL sums over a square
    of local_size by local_size pixels around each; there n is local_size^2, also at the border, and k is 1 whatever the
    setting says, as in Caffe.
    """

    type = "LRN"
    works_in_place = True
    settings = ("lrn_param",)
    pointwise = True

    @property
    def across(self) -> bool:
        """Whether the sum is over channels, not over pixels."""
        return self.param.lrn_param.norm_region == pb.LRNParameter.ACROSS_CHANNELS

    @property
    def local_size(self) -> int:
        """Extent of the window."""
        return self.param.lrn_param.local_size

    @property
    def alpha(self) -> float:
        """Factor of the mean of squares."""
        return self.param.lrn_param.alpha

    @property
    def beta(self) -> float:
        """Exponent of the denominator."""
        return self.param.lrn_param.beta

    @property
    def k(self) -> float:
        """What is added to the scaled sum."""
        return self.param.lrn_param.k if self.across else 1.0

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        size = self.local_size
        if size % 2 == 0:
            self.bad_param(f"local_size must be odd, got {size}")
        second = 1 if self.across else size
        half = size // 2, second // 2
        self._window = Window((size, second), (1, 1), half, half, (1, 1))
        self._scratch = Scratch()

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) < 2 or (not self.across and len(shape) != 4):
            axes = "(N, C, ...)" if self.across else "(N, C, H, W)"
            self.bad_shape(f"needs a bottom {axes}, got one of shape {shape}")
        if top[0] is not bottom[0]:
            top[0].reshape(shape)
        # the window slides over the last two axes of this view
        self._view = (shape[0], 1, shape[1], math.prod(shape[2:])) if self.across else shape

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data.reshape(self._view), top[0].data.reshape(self._view)
        xp, base = xp_of(x), self._buffer("base", x)
        if top[0] is bottom[0]:
            self._buffer("x", x)[...] = x  # backward needs it
        square = self._buffer("square", x)
        for part in parts(x):
            xp.multiply(x[part], x[part], out=square[part])
            self._sum(square[part], base[part])
            base[part] += x.dtype.type(self.k)
            power = xp.power(base[part], x.dtype.type(-self.beta))
            xp.multiply(x[part], power, out=y[part])

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Compute dx = base^-beta dy - 2 beta alpha / n * x * (sum nearby of dy x base^(-beta - 1))."""
        if not propagate_down[0]:
            return
        dy, dx = top[0].diff.reshape(self._view), bottom[0].diff.reshape(self._view)
        x = self._buffer("x", dy) if top[0] is bottom[0] else bottom[0].data.reshape(self._view)
        xp, base, square = xp_of(x), self._buffer("base", x), self._buffer("square", x)
        for part in parts(x):
            direct = xp.power(base[part], x.dtype.type(-self.beta))
            direct *= dy[part]
            ratio = direct * x[part]
            ratio /= base[part]
            near = square[part]
            self._sum(ratio, near)  # the window is symmetric
            near *= x[part]
            near *= x.dtype.type(-2 * self.beta)
            xp.add(direct, near, out=dx[part])

    def _buffer(self, name: str, like: Array) -> Array:
        return self._scratch.get(name, like.shape, like)

    def _sum(self, x: Array, out: Array) -> None:
        """Write alpha / n times the sum of each window of x to `out`."""
        n = math.prod(self._window.kernel)
        average(x, self._window, x.dtype.type(self.alpha / n), out, self._scratch)
