"""Kernels of pooling.cu: maximum and average pooling over two axes."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Elements, Kernel

__all__ = ["average_backward", "average_forward", "max_backward", "max_forward"]

FILE = "pooling"

max_forward = Kernel(FILE, "max_forward", """
    const stored* x, stored* y, int* mask, real* top_mask, Index count, int height, int width, Divisor out_h,
    Divisor out_w, int kernel_h, int kernel_w, int stride_h, int stride_w, int pad_h, int pad_w, int mark, int rectify,
    real slope
""", Elements())  # fmt: skip
max_backward = Kernel(FILE, "max_backward", """
    const stored* dy, const int* mask, stored* dx, stored* masked, Index count, Divisor height, Divisor width,
    int out_h, int out_w, int kernel_h, int kernel_w, int stride_h, int stride_w, int pad_h, int pad_w, real slope
""", Elements())  # fmt: skip
average_forward = Kernel(FILE, "average_forward", """
    const stored* x, stored* y, Index count, int height, int width, Divisor out_h, Divisor out_w, int kernel_h,
    int kernel_w, int stride_h, int stride_w, int pad_h, int pad_w, int first_h, int first_w, int end_h, int end_w
""", Elements())  # fmt: skip
average_backward = Kernel(FILE, "average_backward", """
    const stored* dy, const stored* x, stored* dx, Index count, Divisor height, Divisor width, int out_h, int out_w,
    int kernel_h, int kernel_w, int stride_h, int stride_w, int pad_h, int pad_w, real slope, int first_h, int first_w,
    int end_h, int end_w
""", Elements())  # fmt: skip
