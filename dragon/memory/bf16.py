"""bf16, the upper 16 bits of a float32, which NumPy does not have: its bit patterns as uint16."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["from_bf16", "to_bf16"]


def to_bf16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The nearest bf16 bit patterns (ties to even); NaN stays NaN."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded)


def from_bf16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The float32 values of bf16 bit patterns."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
