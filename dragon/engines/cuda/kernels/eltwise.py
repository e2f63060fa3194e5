"""Kernels of eltwise.cu: Eltwise's products and maxima."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Elements, Kernel

__all__ = ["first_maximum", "maximum_backward", "next_maximum", "product", "product_backward"]

FILE = "eltwise"

product = Kernel(FILE, "product", """
    const stored* a, const stored* b, stored* y, Index count, int vectors
""", Elements())  # fmt: skip
product_backward = Kernel(FILE, "product_backward", """
    const stored* x, const stored* y, const stored* dy, stored* dx, Index count
""", Elements())  # fmt: skip
first_maximum = Kernel(FILE, "first_maximum", """
    const stored* a, const stored* b, stored* y, int* winner, Index count
""", Elements())  # fmt: skip
next_maximum = Kernel(FILE, "next_maximum", """
    const stored* x, stored* y, int* winner, Index count, int number
""", Elements())  # fmt: skip
maximum_backward = Kernel(FILE, "maximum_backward", """
    const stored* dy, const int* winner, stored* dx, Index count, int number
""", Elements())  # fmt: skip
