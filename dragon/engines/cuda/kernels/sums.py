"""Kernels of sums.cu: sums of up to four arrays, with a ReLU in front or behind."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Elements, Kernel

__all__ = ["MOST_OUTPUTS", "MOST_TERMS", "sum_backward", "sum_forward"]

FILE = "sums"
MOST_TERMS = 4  # of one launch
MOST_OUTPUTS = 3

sum_forward = Kernel(FILE, "sum_forward", """
    const stored* x0, const stored* x1, const stored* x2, const stored* x3, stored* y, Index count, int vectors,
    int rectify, real slope
""", Elements())  # fmt: skip
sum_backward = Kernel(FILE, "sum_backward", """
    const stored* x0, const stored* x1, const stored* x2, const stored* x3, const stored* y, stored* out0,
    stored* out1, stored* out2, Index count, int vectors, real slope
""", Elements())  # fmt: skip
