"""How numbers become int8, and what remains of them. All engines round by these formulas.

An activation x is the integer round(x / scale), to the nearest, of a tie the even one, limited to what 8 bits hold:
0..255 where a tensor has no negative values, else -128..127. A weight has a scale for each output, the largest
magnitude of that output's weights over 127: factors of an output, such as those of a normalisation that is folded into
it, change its scale and not its integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LARGEST",
    "LEAST",
    "WEIGHT_LEVELS",
    "Array",
    "Range",
    "quantize",
    "quantize_weights",
    "rounded",
    "rounded_weights",
]

Array = NDArray[Any]
WEIGHT_LEVELS = 127
LARGEST = float(np.finfo(np.float32).max)  # the largest limit of a range
LEAST = 1e-30  # a largest magnitude below this counts as 0: its scale would have no inverse in float32
_MOST = 3.36e38  # that of a range counts as this at most: 128/127 of it, what -128 stands for, is finite in float32


@dataclass(frozen=True)
class Range:
    """The range of a tensor's values. limit: the largest magnitude. signed: whether there are negative values."""

    limit: float
    signed: bool

    @property
    def bounds(self) -> tuple[int, int]:
        """The smallest and the largest integer."""
        return (-128, 127) if self.signed else (0, 255)

    @property
    def scale(self) -> float:
        """What 1 stands for."""
        return min(self.limit, _MOST) / self.bounds[1] if self.limit > LEAST else 1.0


def quantize(values: Array, of: Range) -> Array:
    """Float values of any shape as integers, int8 or uint8. NaN becomes 127 in int8, 0 in uint8, as in oneDNN."""
    low, high = of.bounds
    with np.errstate(over="ignore", invalid="ignore"):
        integers = np.rint(values * np.float32(1 / of.scale))
    # of NaN and a number, fmin and fmax return the number
    if of.signed:
        return np.fmax(np.fmin(integers, high), low).astype(np.int8)
    return np.fmin(np.fmax(integers, low), high).astype(np.uint8)


def rounded(values: Array, of: Range) -> Array:
    """The values, float of the same type, that are left of these in int8."""
    restored: Array = quantize(values, of).astype(values.dtype) * values.dtype.type(np.float32(of.scale))
    return restored


def quantize_weights(weights: Array, axis: int, levels: int = WEIGHT_LEVELS) -> tuple[Array, Array]:
    """Weights as int8 in -levels..levels, and the float32 scale of each output (outputs,). axis: that of the outputs.

    The scale of an output without any weight but 0 is 1, that of one with a weight that is not finite NaN: so all that
    it computes is NaN.
    """
    others = tuple(i for i in range(weights.ndim) if i != axis)
    largest = np.abs(weights).max(axis=others, keepdims=True, initial=0)
    scales = np.where(largest > LEAST, largest / levels, 1).astype(np.float32)
    scales[~np.isfinite(largest)] = np.nan
    with np.errstate(over="ignore", invalid="ignore"):
        integers = np.fmax(np.fmin(np.rint(weights / scales), levels), -levels).astype(np.int8)
    return integers, scales.reshape(-1)


def rounded_weights(weights: Array, axis: int) -> Array:
    """The weights, float of the same type and shape, that are left of these in int8."""
    integers, scales = quantize_weights(weights, axis)
    shape = [-1 if i == axis else 1 for i in range(weights.ndim)]
    restored: Array = (integers * scales.reshape(shape)).astype(weights.dtype)
    return restored
