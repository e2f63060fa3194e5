"""Kernels of volume_pooling.cu: maximum and average pooling over three axes."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Elements, Kernel

__all__ = ["average_backward_3d", "average_forward_3d", "max_backward_3d", "max_forward_3d"]

FILE = "volume_pooling"
WINDOW = """
    Divisor depth, Divisor height, Divisor width, Divisor out_d, Divisor out_h, Divisor out_w, Divisor kernel_d,
    Divisor kernel_h, Divisor kernel_w, Divisor stride_d, Divisor stride_h, Divisor stride_w, int pad_d, int pad_h,
    int pad_w
"""
COUNTED = "int first_d, int first_h, int first_w, int end_d, int end_h, int end_w"

max_forward_3d = Kernel(FILE, "max_forward_3d", f"""
    const stored* x, stored* y, int* mask, real* top_mask, Index count, {WINDOW}, int mark, int rectify,
    real slope
""", Elements())  # fmt: skip
max_backward_3d = Kernel(FILE, "max_backward_3d", f"""
    const stored* dy, const int* mask, stored* dx, stored* masked, Index count, {WINDOW}, real slope
""", Elements())  # fmt: skip
average_forward_3d = Kernel(FILE, "average_forward_3d", f"""
    const stored* x, stored* y, Index count, {WINDOW}, {COUNTED}
""", Elements())  # fmt: skip
average_backward_3d = Kernel(FILE, "average_backward_3d", f"""
    const stored* dy, const stored* x, stored* dx, Index count, {WINDOW}, real slope, {COUNTED}
""", Elements())  # fmt: skip
