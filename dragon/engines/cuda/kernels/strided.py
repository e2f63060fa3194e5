"""Kernels of strided.cu: copies between arrays of different strides."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Elements, Kernel

__all__ = ["copy_rows", "copy_strided", "fill", "sum_tiles"]

FILE = "strided"

fill = Kernel(FILE, "fill", """
    stored* y, Index count, real value
""", Elements())  # fmt: skip
copy_rows = Kernel(FILE, "copy_rows", """
    const stored* x, stored* y, Index count, int vectors, Divisor row, Index x_row, Index y_row, Index x_start,
    Index y_start
""", Elements())  # fmt: skip
copy_strided = Kernel(FILE, "copy_strided", """
    const stored* x, stored* y, Index count, Divisor n1, Divisor n2, Divisor n3, Divisor n4,
    Divisor n5, int x0, int x1, int x2, int x3, int x4, int x5, int y0, int y1, int y2, int y3, int y4, int y5,
    int x_start, int y_start
""", Elements())  # fmt: skip
sum_tiles = Kernel(FILE, "sum_tiles", """
    const stored* dy, stored* dx, Index count, Index tiles, Divisor inner
""", Elements())  # fmt: skip
