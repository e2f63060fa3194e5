"""bf16, the upper 16 bits of a float32, which NumPy does not have: its bit patterns as uint16."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["from_bf16", "to_bf16"]

_BLOCK = 1 << 14  # elements that are converted at a time, so that what lies between stays in the cache
_HALF, _NAN = np.uint32(0x7FFF), np.uint16(0x7FC0)
_ONE, _BITS = np.uint32(1), np.uint32(16)


def to_bf16(values: NDArray[np.float32], out: NDArray[np.uint16] | None = None) -> NDArray[np.uint16]:
    """The nearest bf16 bit patterns (ties to even); NaN stays NaN. out: a contiguous array for them, or None."""
    values = np.ascontiguousarray(values, np.float32)
    if out is None:
        out = np.empty(values.shape, np.uint16)
    flat, into = values.reshape(-1), out.reshape(-1)
    rounded: NDArray[Any] = np.empty(min(_BLOCK, flat.size), np.uint32)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        bits, r = block.view(np.uint32), rounded[: block.size]
        np.right_shift(bits, _BITS, out=r)
        r &= _ONE  # of a tie the even one
        r += _HALF
        r += bits
        r >>= _BITS
        into[start : start + _BLOCK] = r
        if not np.isfinite(block.sum()):  # NaN, infinities, or numbers so large that it does not matter
            into[start : start + _BLOCK][np.isnan(block)] = _NAN
    return out


def from_bf16(bits: NDArray[np.uint16], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """The float32 values of bf16 bit patterns. out: a contiguous array for them, or None."""
    if out is None:
        out = np.empty(bits.shape, np.float32)
    np.left_shift(bits, _BITS, out=out.view(np.uint32), dtype=np.uint32)
    return out
