"""Calls of primitives that can turn NaN and infinities into numbers.

oneDNN computes maxima and minima by an instruction that returns the other operand where one is NaN, and its exponential
clamps its argument. So max(NaN, 0) is 0, and a maximum pooling skips NaN. A guarded call checks what it reads by a sum
of squares. Where that is not finite, the result is computed in array code, as on the reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial

import numpy as np

from dragon.engines.onednn.kernels import combine
from dragon.engines.onednn.kernels.eltwise import LIMITS, keeping_nan
from dragon.engines.onednn.library.constants import Arg, DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import Call, EltwisePost, Primitive
from dragon.engines.onednn.plan.bound import Bound, largest_bf16, squares
from dragon.memory.storage import Array

__all__ = ["BoundedCall", "GuardedCall", "bounded_call", "fetch", "is_finite", "keeping", "store"]


class GuardedCall(Call):
    """A call whose result comes from `exact` where an argument that is checked has NaN or infinities.

    checked: the arguments that are checked. reads: the arguments whose row-major float32 arrays are given to `exact`,
    which returns the array of the argument `result`. also: further memories to check. bound: of what is checked; while
    it holds there is no check.
    forward: in backward, the call whose check counts instead of one of its own. The primitive runs in any case, for
    its other outputs (a workspace). nonfinite: the result of the last check.
    """

    __slots__ = ("_bound", "_checked", "_exact", "_forward", "_reads", "_result", "nonfinite")

    def __init__(
        self,
        primitive: Primitive,
        memories: Mapping[int, Memory],
        scratchpad: Memory | None,
        exact: Callable[..., Array],
        checked: Sequence[int],
        reads: Sequence[int],
        result: int,
        bound: Bound | None = None,
        also: Sequence[Memory] = (),
        forward: GuardedCall | None = None,
    ) -> None:
        super().__init__(primitive, memories, scratchpad)
        self.nonfinite = False
        self._forward = forward
        self._exact, self._reads = exact, reads
        self._checked = [*also, *(self.memories[arg] for arg in checked)]
        self._result = self.memories[result]
        self._bound = bound

    def __call__(self) -> None:
        self.nonfinite = self._finds_nonfinite()
        if not self.nonfinite:
            super().__call__()
            return
        arrays = [fetch(self.memories[arg]) for arg in self._reads]
        super().__call__()
        with np.errstate(all="ignore"):
            store(self._exact(*arrays), self._result)

    @property
    def bound(self) -> Bound | None:
        """The bound of what is checked."""
        return self._bound

    def _finds_nonfinite(self) -> bool:
        if self._forward is not None:
            return self._forward.nonfinite
        if self._bound is not None and self._bound.holds():
            return False
        return not all(is_finite(memory) for memory in self._checked)


class BoundedCall(Call):
    """A call of a primitive that runs while the bound holds; else `otherwise`, which makes its result, runs instead."""

    __slots__ = ("_bound", "_otherwise")

    def __init__(
        self,
        primitive: Primitive,
        memories: Mapping[int, Memory],
        scratchpad: Memory | None,
        bound: Bound,
        otherwise: Callable[[], None],
    ) -> None:
        super().__init__(primitive, memories, scratchpad)
        self._bound, self._otherwise = bound, otherwise

    @property
    def bound(self) -> Bound:
        """The bound of the result."""
        return self._bound

    def __call__(self) -> None:
        if self._bound.holds():
            super().__call__()
        else:
            self._otherwise()


def keeping(
    memories: Mapping[int, Memory], make: Callable[[], Primitive], exact: Callable[[Array], Array] | None = None
) -> Callable[[], None]:
    """What runs in the place of a primitive that turns NaN into numbers: the one that `make` returns, made once.

    Then `exact`, unless None, is applied to its result.
    """
    call = cache(lambda: Call(make(), memories))

    def run() -> None:
        call()()
        if exact is not None:
            made = memories[Arg.DST]
            store(exact(fetch(made)), made)

    return run


def bounded_call(primitive: Primitive, memories: Mapping[int, Memory], scratchpad: Memory | None, bound: Bound) -> Call:
    """A call of a primitive whose last post-op may turn NaN into numbers, as a ReLU or a clip does."""
    last = primitive.post_ops[-1] if primitive.post_ops else None
    if not isinstance(last, EltwisePost):
        return Call(primitive, memories, scratchpad)
    others = primitive.post_ops[:-1]
    if last.alg in LIMITS:
        exact = partial(np.clip, a_min=np.float32(last.alpha), a_max=np.float32(last.beta))
        unlimited = partial(primitive.with_post_ops, others)
        return BoundedCall(primitive, memories, scratchpad, bound, keeping(memories, unlimited, exact))
    nan_keeping = replace(last, alg=keeping_nan(last.alg, last.alpha))
    if nan_keeping == last:
        return Call(primitive, memories, scratchpad)
    other = partial(primitive.with_post_ops, [*others, nan_keeping])
    return BoundedCall(primitive, memories, scratchpad, bound, keeping(memories, other))


def is_finite(memory: Memory) -> bool:
    """Whether no element is NaN or infinite."""
    if memory.desc.dtype == DataType.bf16:
        return not memory.elements().size or math.isfinite(largest_bf16(memory))
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
