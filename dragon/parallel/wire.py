"""The form in which gradients are sent by MPI: 16 bits for each number, half the bytes of float32.

What a rank adds up stays float32. Each rank's gradient is rounded once, and their mean once more: a relative error of
2^-8 each in bf16, 2^-11 in fp16, at most. All ranks get the same bits, and each run with as many ranks does.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dragon.memory.bf16 import from_bf16, to_bf16

__all__ = ["WIRES", "Wire", "exponents"]

_LARGEST = 15  # fp16 numbers are below 2^16; gradients are scaled to below 2^15


class Wire(Protocol):
    """A form of float32 values for sending. out: a contiguous array for the result, or None for a new one."""

    dtype: np.dtype[Any]  # of what is sent
    scaled: bool  # values have to be scaled to below 2^15 first: see `exponents`

    def pack(self, values: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """The values as they are sent."""
        ...

    def unpack(self, sent: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """The float32 values of what was sent."""
        ...


class Bf16:
    """8 bits of precision, the range of float32."""

    dtype: np.dtype[Any] = np.dtype(np.uint16)
    scaled = False

    def pack(self, values: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """The nearest values of bf16, as bit patterns."""
        return to_bf16(values, out)

    def unpack(self, sent: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """The values of bit patterns."""
        return from_bf16(sent, out)


class Fp16:
    """11 bits of precision; numbers more than 2^29 times smaller than the largest of their blob lose some of them."""

    dtype: np.dtype[Any] = np.dtype(np.float16)
    scaled = True

    def pack(self, values: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """The nearest values of float16."""
        return _cast(values, np.empty(values.shape, np.float16) if out is None else out)

    def unpack(self, sent: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """The values as float32."""
        return _cast(sent, np.empty(sent.shape, np.float32) if out is None else out)


def _cast(values: NDArray[Any], out: NDArray[Any]) -> NDArray[Any]:
    out[...] = values
    return out


WIRES: dict[str, Wire | None] = {"fp32": None, "bf16": Bf16(), "fp16": Fp16()}


def exponents(blobs: list[NDArray[Any]]) -> NDArray[np.int32]:
    """For each blob the power of 2 that brings its largest magnitude below 2^15.

    The least of those of all ranks serves all: a power of 2 changes no bit but of numbers that float16 has not.
    """
    largest = [float(np.abs(blob).max()) if blob.size else 0.0 for blob in blobs]
    # of zeros and of what is not finite: 2^127, so that the powers of other ranks count
    found = [_LARGEST - int(np.frexp(v)[1]) if 0 < v < np.inf else 127 for v in largest]
    return np.array(found, np.int32)
