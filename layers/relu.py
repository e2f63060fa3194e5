"""ReLU: y = max(x, 0) + negative_slope * min(x, 0); with `relu6` at most 6."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.neuron import Neuron
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["ReLU", "relu", "relu_backward"]


def relu(x: Array, slope: float, out: Array) -> None:
    """Write the activation of `x` into `out`, which may be `x`."""
    xp = xp_of(x)
    if slope == 0:
        xp.maximum(x, 0, out=out)
    else:
        out[...] = xp.where(x > 0, x, x * x.dtype.type(slope))


def relu_backward(y: Array, dy: Array, slope: float, out: Array) -> None:
    """Write dx into `out`. `y` may be the input or the output: their signs agree for slope >= 0."""
    xp = xp_of(dy)
    passes = y > 0
    if slope == 0:
        xp.multiply(dy, passes, out=out)
        return
    factor = xp.multiply(~passes, dy.dtype.type(slope))  # a choice element by element would take thrice the time
    factor += passes
    xp.multiply(dy, factor, out=out)


@register()
class ReLU(Neuron):
    type = "ReLU"
    settings = ("relu_param",)
    keeps_signs = True
    from_result = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.needs_input = self.slope < 0  # else the output has the sign of the input

    @property
    def slope(self) -> float:
        return self.param.relu_param.negative_slope

    @property
    def maximum(self) -> float | None:
        """The largest value of the top (6 with `relu6`), or None."""
        return 6.0 if self.param.relu_param.relu6 else None

    def activate(self, x: Array, out: Array) -> None:
        relu(x, self.slope, out)
        if self.maximum is not None:
            xp_of(out).minimum(out, self.maximum, out=out)

    def gradient(self, x: Array, y: Array, dy: Array, out: Array) -> None:
        blocked = None if self.maximum is None else x >= self.maximum
        relu_backward(x, dy, self.slope, out)
        if blocked is not None:
            out[blocked] = 0
