"""Kernels of rows.cu: normalisers whose statistics belong to one item, sums of rows."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Blocks, Elements, Kernel

__all__ = [
    "axpy_rows",
    "columns_backward",
    "columns_forward",
    "reduce_backward",
    "reduce_rows",
    "rows_backward",
    "rows_forward",
]

FILE = "rows"

rows_forward = Kernel(FILE, "rows_forward", """
    const stored* x, const real* gamma, const real* beta, stored* y, stored* normal, real* kept, Index rows,
    Index length, Divisor inner, Divisor channels, int mode, real eps
""", Blocks("rows"))  # fmt: skip
rows_backward = Kernel(FILE, "rows_backward", """
    const stored* dy, const stored* normal, const real* gamma, const real* kept, stored* dx, Index rows,
    Index length, Divisor inner, Divisor channels
""", Blocks("rows"))  # fmt: skip
columns_forward = Kernel(FILE, "columns_forward", """
    const stored* x, const real* gamma, stored* y, stored* normal, real* inv, Index positions, Index channels,
    Divisor inner, int shared, real eps
""", Elements("positions"))  # fmt: skip
columns_backward = Kernel(FILE, "columns_backward", """
    const stored* dy, const stored* normal, const real* gamma, const real* inv, stored* dx, Index positions,
    Index channels, Divisor inner, int shared
""", Elements("positions"))  # fmt: skip
reduce_rows = Kernel(FILE, "reduce_rows", """
    const stored* x, stored* y, Index rows, Index length, int operation, real coeff
""", Blocks("rows"))  # fmt: skip
reduce_backward = Kernel(FILE, "reduce_backward", """
    const stored* x, const stored* dy, stored* dx, Index count, Divisor length, int operation, real coeff
""", Elements())  # fmt: skip
axpy_rows = Kernel(FILE, "axpy_rows", """
    const real* a, const stored* x, const stored* b, stored* y, Index count, Divisor length
""", Elements())  # fmt: skip
