"""Kernels of resampling.cu: Interp, Pad and Upsample."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Elements, Kernel

__all__ = [
    "interp_backward",
    "interp_forward",
    "pad_backward",
    "pad_forward",
    "sum_blocks",
    "unpool_backward",
    "unpool_clear",
    "unpool_forward",
    "unpool_last",
]

FILE = "resampling"
INTERP = """
    Divisor height, Divisor width, int used_h, int used_w, int top, int left, Divisor out_h, Divisor out_w,
    double step_h, double step_w
"""
PAD = """
    Divisor height, Divisor width, Divisor out_h, Divisor out_w, int top, int left, int mode
"""

interp_forward = Kernel(FILE, "interp_forward", f"""
    const stored* x, stored* y, Index count, {INTERP}
""", Elements())  # fmt: skip
interp_backward = Kernel(FILE, "interp_backward", f"""
    const stored* dy, stored* dx, Index count, {INTERP}
""", Elements())  # fmt: skip
pad_forward = Kernel(FILE, "pad_forward", f"""
    const stored* x, stored* y, Index count, {PAD}, real value
""", Elements())  # fmt: skip
pad_backward = Kernel(FILE, "pad_backward", f"""
    const stored* dy, stored* dx, Index count, {PAD}
""", Elements())  # fmt: skip
sum_blocks = Kernel(FILE, "sum_blocks", """
    const stored* dy, stored* dx, Index count, Divisor width, Index scale_h, Index scale_w
""", Elements())  # fmt: skip
unpool_clear = Kernel(FILE, "unpool_clear", """
    int* last, Index count
""", Elements())  # fmt: skip
unpool_last = Kernel(FILE, "unpool_last", """
    const real* mask, int* last, Index count, Divisor size, Index out_size
""", Elements())  # fmt: skip
unpool_forward = Kernel(FILE, "unpool_forward", """
    const stored* x, const int* last, stored* y, Index count
""", Elements())  # fmt: skip
unpool_backward = Kernel(FILE, "unpool_backward", """
    const stored* dy, const real* mask, stored* dx, Index count, Divisor size, Index out_size
""", Elements())  # fmt: skip
