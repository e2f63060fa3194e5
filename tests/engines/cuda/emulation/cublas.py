"""The cuBLAS functions that the engine calls, on NumPy: same names, same C arguments."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.engines.cuda.emulation import standin
from tests.engines.cuda.emulation.memory import owner_at
from tests.engines.cuda.emulation.sixteen import put, wide

TYPES: dict[int, Any] = {0: np.float32, 1: np.float64, 2: np.float16, 14: np.uint16}
COMPUTE = {68: np.float32, 77: np.float32, 70: np.float64}
INVALID = 7


class Cublas:
    _on_device = False

    handles = 0  # of all objects

    def cublasCreate_v2(self, handle: Any) -> int:
        Cublas.handles += 1
        return 0

    def cublasSetStream_v2(self, handle: Any, stream: Any) -> int:
        return 0

    def cublasSetWorkspace_v2(self, handle: Any, room: Any, size: Any) -> int:
        return 0

    def cublasSetMathMode(self, handle: Any, mode: int) -> int:
        return 0

    def cublasSetPointerMode_v2(self, handle: Any, mode: int) -> int:
        self._on_device = bool(mode)
        return 0

    def cublasGemmStridedBatchedEx(self, handle: Any, *args: Any) -> int:
        (ta, tb, m, n, k, alpha, a, a_type, lda, stride_a, b, b_type, ldb, stride_b, beta, c, c_type, ldc, stride_c,
         batch, compute, _) = args  # fmt: skip
        dtype, real = TYPES[a_type.value], COMPUTE[compute.value]
        narrow = np.dtype(dtype).itemsize == 2
        if a_type.value != b_type.value or (a_type.value != c_type.value and not (narrow and c_type.value == 0)):
            return INVALID
        if (real is np.float64) != (dtype is np.float64):
            return INVALID
        factors = [_factor(pointer, real, self._on_device) for pointer in (alpha, beta)]
        rows_a, columns_a = (m.value, k.value) if not ta.value else (k.value, m.value)
        rows_b, columns_b = (k.value, n.value) if not tb.value else (n.value, k.value)
        if lda.value < rows_a or ldb.value < rows_b or ldc.value < m.value:
            return INVALID
        x = _matrices(a.value, dtype, rows_a, columns_a, lda.value, stride_a.value, batch.value)
        y = _matrices(b.value, dtype, rows_b, columns_b, ldb.value, stride_b.value, batch.value)
        out = _matrices(c.value, TYPES[c_type.value], m.value, n.value, ldc.value, stride_c.value, batch.value)
        standin.counts["gemm"] += 1

        def action() -> None:
            one, zero = (factor() for factor in factors)
            with np.errstate(all="ignore"):
                for i in range(batch.value):
                    first, second = wide(x[i], real), wide(y[i], real)
                    product = (first.T if ta.value else first) @ (second.T if tb.value else second)
                    put(out[i], one * product + (zero * wide(out[i], real) if zero else 0))

        standin.run(action)
        return 0


def _factor(pointer: Any, real: Any, on_device: bool) -> Callable[[], Any]:
    """What gives alpha or beta: from the host now, from the device when the product is computed."""
    kind = ctypes.c_double if real is np.float64 else ctypes.c_float
    if not on_device:
        value = ctypes.cast(pointer, ctypes.POINTER(kind)).contents.value
        return lambda: real(value)
    size, start = ctypes.sizeof(kind), pointer.value
    if owner_at(start, start + size) is None:
        raise MemoryError("cuBLAS: a factor that is not inside an array")
    return lambda: real(kind.from_address(start).value)


def _matrices(
    address: int, dtype: Any, rows: int, columns: int, ld: int, stride: int, batch: int
) -> list[np.ndarray[Any, Any]]:
    """Column-major views of memory that must lie inside an array of the stand-in."""
    size = np.dtype(dtype).itemsize
    views = []
    for i in range(batch):
        start = address + i * stride * size
        stop = start + ((columns - 1) * ld + rows) * size
        if owner_at(start, stop) is None:
            raise MemoryError(f"cuBLAS: bytes {start:#x} to {stop:#x} are not inside an array")
        raw = (ctypes.c_char * (stop - start)).from_address(start)
        flat = np.frombuffer(raw, dtype)
        views.append(np.lib.stride_tricks.as_strided(flat, (rows, columns), (size, ld * size)))
    return views
