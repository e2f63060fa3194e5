"""Bound: a bound of the elements of a top, computed in each run before its layer, cheaper than a check of the top.

A convolution of finite numbers is finite unless it overflows. So a bound of its bottom and the norms of its weights
show that its top has no NaN and no infinity, and a ReLU or a maximum pooling after it need not check for them.

In a deep net such bounds grow until they show nothing. So some values in between are measured (`Measured`).
"""

from __future__ import annotations

import math

import numpy as np

from dragon.engines.int8.arithmetic import Range
from dragon.engines.onednn.library.constants import DataType
from dragon.engines.onednn.library.memory import Memory

__all__ = ["Bound", "Measured", "largest_bf16", "of_range", "squares"]

LARGEST = 1e30  # far enough below the largest float32, 3e38, for what is added up on the way
_EXPECTED = 1e8  # the norm of a value inside a net; a net with larger values is measured once more
_SPARE = 2.0  # times the norm that was found: the next images may have a larger one


class Bound:
    """A bound of one value. largest: of the magnitudes in the present run; infinite or NaN where not known.

    depth: how many layers with weights lie between the value and those that were measured for it.
    """

    __slots__ = ("depth", "largest")

    def __init__(self, depth: int = 0) -> None:
        self.largest = math.inf
        self.depth = depth

    def holds(self) -> bool:
        """Whether the bound shows that all elements are finite."""
        return self.largest < LARGEST  # false for NaN

    def norm(self, count: int) -> float:
        """A bound of the Euclidean norm of any `count` elements."""
        return self.largest * math.sqrt(count)


def of_range(of: Range) -> Bound:
    """The bound of values that are rounded for a range."""
    bound = Bound()
    bound.largest = of.scale * max(map(abs, of.bounds))
    return bound


class Measured(Bound):
    """The Euclidean norm of a whole memory, in bf16 a bound of it, or a limit that it does not exceed.

    Called as a step of a run, it returns True where the norm is above the limit. `largest` is the limit or, after
    `measure`, the norm itself.
    """

    __slots__ = ("limit", "memory")

    def __init__(self, memory: Memory, limit: float = _EXPECTED) -> None:
        super().__init__()
        self.memory = memory
        self.limit = limit

    def norm(self, count: int) -> float:
        return self.largest

    def __call__(self) -> bool:
        return not _norm(self.memory) <= self.limit  # true for NaN

    def assume(self) -> None:
        """Count the limit as the bound."""
        self.largest = self.limit

    def measure(self) -> None:
        """Count the norm as the bound, and from the next run on a limit above it; both infinite if it is not finite."""
        norm = _norm(self.memory)
        self.largest = norm if math.isfinite(norm) else math.inf
        self.limit = _SPARE * self.largest


def _norm(memory: Memory) -> float:
    if memory.desc.dtype != DataType.bf16:
        return math.sqrt(squares(memory))
    flat = memory.elements()
    return largest_bf16(memory) * math.sqrt(flat.size) if flat.size else 0.0


def largest_bf16(memory: Memory) -> float:
    """The largest magnitude in a bf16 memory that is not empty; infinite or NaN where an element is.

    Without their sign the bits of floating-point numbers are in the numbers' order, with NaN last.
    """
    bits = memory.elements()
    positive, negative = int(bits.view(np.int16).max()), int(bits.max()) - 0x8000
    return float(np.array([max(positive, negative) << 16], np.uint32).view(np.float32)[0])


def squares(memory: Memory) -> float:
    """The sum of the squares of a float32 memory: not finite where an element is not, or is beyond 1e19."""
    flat = memory.elements()
    return float(np.einsum("i,i->", flat, flat))
