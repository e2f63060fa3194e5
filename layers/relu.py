"""The layer type ReLU, and its function."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.neuron import Neuron
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["ReLU", "relu", "relu_backward"]


def relu(x: Array, slope: float, out: Array) -> None:
    """Write max(x, 0) + slope * min(x, 0) to `out`, which may be `x`."""
    xp = xp_of(x)
    if slope == 0:
        xp.maximum(x, 0, out=out)
    else:
        out[...] = xp.where(x > 0, x, x * x.dtype.type(slope))


def relu_backward(y: Array, dy: Array, slope: float, out: Array) -> None:
    """Write dx to `out`, which may be `dy`. `y` is the input or, if slope >= 0, the output, of the same sign."""
    xp = xp_of(dy)
    passes = y > 0
    if slope == 0:
        xp.multiply(dy, passes, out=out)
        return
    factor = xp.multiply(~passes, dy.dtype.type(slope))  # `where` would take three times as long
    factor += passes
    xp.multiply(dy, factor, out=out)


@register()
class ReLU(Neuron):
    """y = max(x, 0) + negative_slope * min(x, 0); with `relu6` at most 6."""

    type = "ReLU"
    settings = ("relu_param",)
    keeps_signs = True
    backward_from_top = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.needs_input = self.slope < 0  # otherwise the output has the sign of the input

    @property
    def slope(self) -> float:
        """Slope for negative x."""
        return self.param.relu_param.negative_slope

    @property
    def maximum(self) -> float | None:
        """The upper bound of y: 6 with `relu6`, otherwise None."""
        return 6.0 if self.param.relu_param.relu6 else None

    @property
    def reads_signs(self) -> bool:
        """All that counts is which values are above 0, unless there is an upper bound."""
        return self.maximum is None

    @property
    def top_range(self) -> tuple[float, float] | None:
        """From 0 to the maximum; None with a slope below 0."""
        return None if self.slope else (0.0, math.inf if self.maximum is None else self.maximum)

    def activate(self, x: Array, out: Array) -> None:
        relu(x, self.slope, out)
        if self.maximum is not None:
            xp_of(out).minimum(out, self.maximum, out=out)

    def gradient(self, x: Array, y: Array, dy: Array, out: Array) -> None:
        blocked = None if self.maximum is None else x >= self.maximum
        relu_backward(x, dy, self.slope, out)
        if blocked is not None:
            out[blocked] = 0
