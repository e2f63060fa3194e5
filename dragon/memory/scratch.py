"""Work arrays that are reused from call to call: allocating fresh pages can cost more than the computation itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["Scratch", "parts"]


class Scratch:
    """Arrays by name, reused as long as they are large enough and of the same dtype and array library."""

    def __init__(self) -> None:
        self._arrays: dict[str, Array] = {}

    def get(self, name: str, shape: Sequence[int], like: Any, dtype: DTypeLike | None = None) -> Array:
        """An array of `shape` beside `like` (its library and, unless given, its dtype); its content is unknown."""
        wanted = np.dtype(dtype if dtype is not None else like.dtype)
        count = math.prod(shape)
        held = self._arrays.get(name)
        if held is None or held.size < count or held.dtype != wanted or type(held) is not type(like):
            held = self._arrays[name] = xp_of(like).empty(count, wanted)
        return held[:count].reshape(shape)


def parts(array: Array, size: int = 1 << 18) -> Iterator[slice]:
    """Slices of the first axis, each about `size` bytes of `array`, so that several passes stay in the cache.

    A GPU array gives a single slice: there, launching more kernels costs more than the cache saves.
    """
    n = array.shape[0] if array.ndim else 1
    if not isinstance(array, np.ndarray) or array.nbytes <= 2 * size:
        yield slice(0, n)
        return
    length = max(1, size * n // array.nbytes)
    for start in range(0, n, length):
        yield slice(start, min(start + length, n))
