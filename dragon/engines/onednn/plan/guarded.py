"""Calls of primitives that can turn NaN and infinities into numbers.

oneDNN takes maxima and minima by an instruction that gives the other operand where one is NaN, and its exponential
limits its argument first. So max(NaN, 0) is 0, and a maximum pooling skips NaN. Such a call looks at what it reads,
one sum of squares, and where that is not finite the result is computed in array code, as the reference does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from dragon.engines.onednn.kernels import combine
from dragon.engines.onednn.kernels.eltwise import LIMITS, keeping_nan
from dragon.engines.onednn.library.constants import Arg, DataType
from dragon.engines.onednn.library.memory import Memory, MemoryDesc
from dragon.engines.onednn.library.primitive import Call, EltwisePost, Primitive
from dragon.engines.onednn.plan.bound import Bound
from dragon.memory.storage import Array

__all__ = ["Chosen", "Guarded", "chosen", "fetch", "is_finite", "squares", "store"]

_BF16_EXPONENT = 0x7F80


class Guarded(Call):
    """A call that gives what `exact` computes where what it looks at is not finite.

    looks: the arguments looked at. reads: the arguments whose row-major float32 arrays are given to `exact`, which
    returns the array of the argument `result`. bound: of what is looked at; while it holds no look is taken.
    forward: in backward, the call whose last look counts in the place of an own one.
    The primitive runs in any case, for what else it makes (a workspace). found: what the last look said.
    """

    __slots__ = ("_bound", "_exact", "_forward", "_looks", "_reads", "_result", "found")

    def __init__(
        self,
        primitive: Primitive,
        memories: Mapping[int, Memory],
        scratchpad: Memory | None,
        exact: Callable[..., Array],
        looks: Sequence[int],
        reads: Sequence[int],
        result: int,
        bound: Bound | None = None,
        forward: Guarded | None = None,
    ) -> None:
        super().__init__(primitive, memories, scratchpad)
        self.found = False
        self._forward = forward
        self._exact, self._reads = exact, reads
        self._looks = [self.memories[arg] for arg in looks]
        self._result = self.memories[result]
        self._bound = bound

    def __call__(self) -> None:
        self.found = self._look()
        if not self.found:
            super().__call__()
            return
        arrays = [fetch(self.memories[arg]) for arg in self._reads]
        super().__call__()
        with np.errstate(all="ignore"):
            store(self._exact(*arrays), self._result)

    def _look(self) -> bool:
        if self._forward is not None:
            return self._forward.found
        if self._bound is not None and self._bound.holds():
            return False
        return not all(is_finite(memory) for memory in self._looks)


class Chosen(Call):
    """A call of a primitive that makes numbers of NaN: it runs while the bound tells that there is none.

    Elsewhere the primitive that `keeping` makes runs in its place, and then `exact`, if there is one, on what it made.
    """

    __slots__ = ("_bound", "_call", "_exact", "_keeping")

    def __init__(
        self,
        primitive: Primitive,
        memories: Mapping[int, Memory],
        scratchpad: Memory | None,
        bound: Bound,
        keeping: Callable[[], Primitive],
        exact: Callable[[Array], Array] | None = None,
    ) -> None:
        super().__init__(primitive, memories, scratchpad)
        self._bound, self._keeping, self._exact = bound, keeping, exact
        self._call: Call | None = None

    def __call__(self) -> None:
        if self._bound.holds():
            super().__call__()
            return
        if self._call is None:
            self._call = Call(self._keeping(), self.memories)
        self._call()
        if self._exact is not None:
            made = self.memories[Arg.DST]
            store(self._exact(fetch(made)), made)


def chosen(primitive: Primitive, memories: Mapping[int, Memory], scratchpad: Memory | None, bound: Bound) -> Call:
    """A call of a primitive, of which a post-op may make numbers of NaN: a ReLU, or a limit, which comes last."""
    last = primitive.post_ops[-1] if primitive.post_ops else None
    if not isinstance(last, EltwisePost):
        return Call(primitive, memories, scratchpad)
    others = primitive.post_ops[:-1]
    if last.alg in LIMITS:
        exact = partial(np.clip, a_min=np.float32(last.alpha), a_max=np.float32(last.beta))
        return Chosen(primitive, memories, scratchpad, bound, partial(primitive.with_post_ops, others), exact)
    keeping = replace(last, alg=keeping_nan(last.alg, last.alpha))
    if keeping == last:
        return Call(primitive, memories, scratchpad)
    return Chosen(primitive, memories, scratchpad, bound, partial(primitive.with_post_ops, [*others, keeping]))


def squares(memory: Memory) -> float:
    """The sum of the squares of a float32 memory: not finite where an element is not, or is beyond 1e19."""
    flat = memory.elements()
    return float(np.einsum("i,i->", flat, flat))


def is_finite(memory: Memory) -> bool:
    """Whether no element is NaN or infinite."""
    if memory.desc.dtype == DataType.bf16:
        return not bool((memory.elements() & _BF16_EXPONENT == _BF16_EXPONENT).any())
    return math.isfinite(squares(memory)) or bool(np.isfinite(memory.elements()).all())


def fetch(memory: Memory) -> Array:
    """A copy of the content as a row-major float32 array."""
    plain = Memory(memory.device, MemoryDesc.plain(memory.desc.dims))
    Call(combine.reorder(memory.device, memory.desc, plain.desc), {Arg.SRC: memory, Arg.DST: plain})()
    array: Array = plain.numpy()
    return array


def store(array: Array, memory: Memory) -> None:
    """Write a float32 array of the memory's shape into it, in its layout and type."""
    plain = Memory.wrap(memory.device, np.ascontiguousarray(array, np.float32).reshape(memory.desc.dims))
    Call(combine.reorder(memory.device, plain.desc, memory.desc), {Arg.SRC: plain, Arg.DST: memory})()
