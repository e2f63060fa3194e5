"""Kernels of stochastic.cu: stochastic pooling."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import RANDOM_WORDS, Elements, Kernel

__all__ = ["stochastic_forward", "stochastic_mean", "stochastic_mean_backward"]

FILE = "stochastic"
WINDOW = """
    Divisor height, Divisor width, Divisor out_h, Divisor out_w, int kernel_h, Divisor kernel_w, Divisor stride_h,
    Divisor stride_w, int pad_h, int pad_w
"""

stochastic_forward = Kernel(FILE, "stochastic_forward", f"""
    const stored* x, stored* y, int* chosen, const word* stream, Index count, {WINDOW}
""", Elements(each=RANDOM_WORDS))  # fmt: skip
stochastic_mean = Kernel(FILE, "stochastic_mean", f"""
    const stored* x, stored* y, real* sums, Index count, {WINDOW}
""", Elements())  # fmt: skip
stochastic_mean_backward = Kernel(FILE, "stochastic_mean_backward", f"""
    const stored* x, const stored* dy, const real* sums, stored* dx, Index count, Index outputs, {WINDOW}
""", Elements())  # fmt: skip
