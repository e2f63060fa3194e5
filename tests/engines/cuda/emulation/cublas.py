"""The cuBLAS functions that the engine calls, on NumPy: same names, same C arguments."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from tests.engines.cuda.emulation import standin

TYPES: dict[int, Any] = {0: np.float32, 1: np.float64}
INVALID = 7


class Cublas:
    def cublasCreate_v2(self, handle: Any) -> int:
        return 0

    def cublasSetStream_v2(self, handle: Any, stream: Any) -> int:
        return 0

    def cublasSetWorkspace_v2(self, handle: Any, room: Any, size: Any) -> int:
        return 0

    def cublasGemmStridedBatchedEx(self, handle: Any, *args: Any) -> int:
        (ta, tb, m, n, k, alpha, a, a_type, lda, stride_a, b, b_type, ldb, stride_b, beta, c, c_type, ldc, stride_c,
         batch, *_) = args  # fmt: skip
        dtype = TYPES[a_type.value]
        real = ctypes.c_double if dtype is np.float64 else ctypes.c_float
        one = ctypes.cast(alpha, ctypes.POINTER(real)).contents.value
        zero = ctypes.cast(beta, ctypes.POINTER(real)).contents.value
        if a_type.value != b_type.value or a_type.value != c_type.value:
            return INVALID
        rows_a, columns_a = (m.value, k.value) if not ta.value else (k.value, m.value)
        rows_b, columns_b = (k.value, n.value) if not tb.value else (n.value, k.value)
        if lda.value < rows_a or ldb.value < rows_b or ldc.value < m.value:
            return INVALID
        x = _matrices(a.value, dtype, rows_a, columns_a, lda.value, stride_a.value, batch.value)
        y = _matrices(b.value, dtype, rows_b, columns_b, ldb.value, stride_b.value, batch.value)
        out = _matrices(c.value, dtype, m.value, n.value, ldc.value, stride_c.value, batch.value)
        standin.counts["gemm"] += 1

        def action() -> None:
            for i in range(batch.value):
                product = (x[i].T if ta.value else x[i]) @ (y[i].T if tb.value else y[i])
                out[i][...] = one * product + (zero * out[i] if zero else 0)

        standin.run(action)
        return 0


def _matrices(
    address: int, dtype: Any, rows: int, columns: int, ld: int, stride: int, batch: int
) -> list[np.ndarray[Any, Any]]:
    """Column-major views of memory that must lie inside an array of the stand-in."""
    size = np.dtype(dtype).itemsize
    views = []
    for i in range(batch):
        start = address + i * stride * size
        stop = start + ((columns - 1) * ld + rows) * size
        if not any(a <= start and stop <= b and ref() is not None for a, b, ref in standin.exposed):
            raise MemoryError(f"cuBLAS: bytes {start:#x} to {stop:#x} are not inside an array")
        raw = (ctypes.c_char * (stop - start)).from_address(start)
        flat = np.frombuffer(raw, dtype)
        views.append(np.lib.stride_tricks.as_strided(flat, (rows, columns), (size, ld * size)))
    return views
