"""16-bit types: their NumPy types, and the options with which kernels are compiled for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from dragon.errors import EngineError
from dragon.memory.storage import Storage

__all__ = ["BFLOAT16", "FLOAT16", "PRECISIONS", "HalfPrecision", "arithmetic", "defines", "is_16_bit", "type_in"]

FLOAT16: np.dtype[Any] = np.dtype(np.float16)
BFLOAT16: np.dtype[Any] = np.dtype(np.uint16)  # NumPy has no such type: arrays on the GPU hold its bits
# a net's precision: the type of its activations, None for that of its masters
PRECISIONS: dict[str, np.dtype[Any] | None] = {"fp32": None, "bf16": BFLOAT16, "fp16": FLOAT16}
_REAL = {"float32": "float", "float64": "double"}
_STORED: dict[np.dtype[Any], str] = {FLOAT16: "float16", BFLOAT16: "bfloat16"}


def type_in(precision: str) -> np.dtype[Any] | None:
    """The type of the activations in a precision, None for that of the masters. EngineError for any other precision."""
    if precision not in PRECISIONS:
        raise EngineError(f"the CUDA engine computes in {', '.join(PRECISIONS)}, not in {precision}")
    return PRECISIONS[precision]


def is_16_bit(dtype: DTypeLike) -> bool:
    """Whether arrays of this type hold 16-bit values."""
    return np.dtype(dtype) in _STORED


def arithmetic(dtype: DTypeLike) -> np.dtype[Any]:
    """The type that kernels for arrays of `dtype` compute in."""
    return np.dtype(np.float32) if is_16_bit(dtype) else np.dtype(dtype)


def defines(dtype: DTypeLike) -> tuple[str, ...]:
    """Options of the compiler that make common.cuh's `real` and `stored` those of arrays of `dtype`."""
    dtype = np.dtype(dtype)
    real = f"-DREAL={_REAL[arithmetic(dtype).name]}"
    return (real, f"-DSTORED={_STORED[dtype]}") if is_16_bit(dtype) else (real,)


@dataclass
class HalfPrecision:
    """The 16-bit activations of a net: their type, the 16-bit copies of parameters (`working`), and the loss scale."""

    dtype: np.dtype[Any]
    working: Callable[[Storage], Any]
    scale: Any = None  # one float32 on the device; None: 1
    unscale: Any = None
