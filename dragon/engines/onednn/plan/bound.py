"""Bound: a bound of the elements of a top, computed in each run before its layer, cheaper than a check of the top.

A convolution of finite numbers is finite unless it overflows. So a bound of its bottom and the norms of its weights
show that its top has no NaN and no infinity, and a ReLU or a maximum pooling after it need not check for them.

In a deep net such bounds grow until they show nothing. So some values in between are measured (`Measured`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dragon.engines.int8.arithmetic import Range
from dragon.engines.onednn.library.constants import DataType
from dragon.engines.onednn.library.memory import Memory

__all__ = ["SMALLEST_SQUARE", "Bound", "Gains", "Measured", "largest_bf16", "of_range", "squares"]

LARGEST = 1e30  # far enough below the largest float32, 3e38, for what is added up on the way
SMALLEST_SQUARE = 1.2e-38  # the squares of smaller numbers may come out as 0
_FIRST = 0.0  # the limit of a value that was never measured
_CALL = 1_000_000  # bytes that are read in the time that a step in Python takes between primitives, about 50 us
_SPARE = 8.0  # times the norm that was found: the next images may have a larger one


@dataclass
class Gains:
    """What the weights and the bias of a layer make of its bottom, at most, over all outputs.

    norm: the Euclidean norm of an output's weights. positive: the sum of the weights of one sign. bias: its magnitude.
    """

    norm: float = math.inf
    positive: float = math.inf
    bias: float = math.inf


class Bound:
    """A bound of one value. largest: of the magnitudes in the present run; infinite or NaN where not known.

    positive: whether no element is below 0.
    """

    __slots__ = ("largest", "positive")

    def __init__(self, positive: bool = False) -> None:
        self.largest = math.inf
        self.positive = positive

    def holds(self) -> bool:
        """Whether the bound shows that all elements are finite."""
        return self.largest < LARGEST  # false for NaN

    def product(self, gains: Gains, count: int) -> float:
        """A bound of what sums of `count` products of the elements and weights of these gains are."""
        gain = gains.positive if self.positive else math.sqrt(count) * gains.norm
        return self.largest * gain + gains.bias


def of_range(of: Range) -> Bound:
    """The bound of values that are rounded for a range."""
    bound = Bound()
    bound.largest = of.scale * max(map(abs, of.bounds))
    return bound


class Measured(Bound):
    """The Euclidean norm of a whole memory, in bf16 its largest magnitude, or a limit that this does not exceed.

    Called as a step of a run, it returns True where the value is above the limit. `largest` is the limit or, after
    `measure`, the value itself.

    computed: the bound that is known without measuring, for a value inside a net. Then the memory is measured in those
    runs only for which `choose` finds that bound `above` what may carry over to the next layers: `needed`. cut: whether
    the layers behind it read no other value of the layers before it.
    """

    __slots__ = ("_found", "above", "computed", "cut", "limit", "memory", "needed")

    def __init__(self, memory: Memory, limit: float = _FIRST, computed: Bound | None = None, cut: bool = False) -> None:
        super().__init__(computed is not None and computed.positive)
        self.memory = memory
        self.limit = self._found = limit
        self.computed = computed
        self.cut = cut
        self.above = math.inf
        self.needed = True

    @property
    def cost(self) -> int:
        """What measuring costs, in bytes that are read meanwhile."""
        return self.memory.desc.size + _CALL

    def product(self, gains: Gains, count: int) -> float:
        if self.needed and self.memory.desc.dtype != DataType.bf16:
            return self.largest * gains.norm + gains.bias
        return super().product(gains, count)

    def choose(self) -> None:
        """Decide whether the memory is measured in runs with the present bounds."""
        known = math.inf if self.computed is None else self.computed.largest
        self.needed = not known <= self.above  # true for NaN
        self.largest = self._found if self.needed else known

    def __call__(self) -> bool:
        finite = self.computed is not None and self.computed.holds()
        return not self._measure(self.positive and finite) <= self.limit  # true for NaN

    def assume(self) -> None:
        """Count the limit as the bound."""
        self.largest = self._found = self.limit

    def measure(self) -> None:
        """Count the value as the bound, and from the next run on a limit above it; infinite if it is not finite."""
        found = self._measure(positive=False)
        self.largest = self._found = found if math.isfinite(found) else math.inf
        self.limit = _SPARE * self.largest

    def _measure(self, positive: bool) -> float:
        if self.memory.desc.dtype != DataType.bf16:
            return math.sqrt(squares(self.memory) + self.memory.elements().size * SMALLEST_SQUARE)
        return largest_bf16(self.memory, positive) if self.memory.elements().size else 0.0


def largest_bf16(memory: Memory, positive: bool = False) -> float:
    """The largest magnitude in a bf16 memory that is not empty; infinite or NaN where an element is.

    Without their sign the bits of floating-point numbers are in the numbers' order, with NaN last. positive: whether it
    is known that only zeros have a sign, and that no element is NaN, which may have one.
    """
    bits = memory.elements()
    largest = int(bits.view(np.int16).max())
    if not positive:
        largest = max(largest, int(bits.max()) - 0x8000)
    return float(np.array([max(largest, 0) << 16], np.uint32).view(np.float32)[0])


def squares(memory: Memory) -> float:
    """The sum of the squares of a float32 memory: not finite where an element is not, or is beyond 1e19."""
    flat = memory.elements()
    return float(np.einsum("i,i->", flat, flat))
