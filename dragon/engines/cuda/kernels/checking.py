"""Kernels of checking.cu: operands for a product that is tried, and the distance of two results."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Elements, Kernel

__all__ = ["fill_hashed", "squared_difference"]

FILE = "checking"

fill_hashed = Kernel(FILE, "fill_hashed", """
    stored* x, Index count, Index seed
""", Elements())  # fmt: skip
squared_difference = Kernel(FILE, "squared_difference", """
    const stored* x, const stored* y, double* parts, Index count
""")  # fmt: skip
