"""Kernels of volume_pooling.cu: maximum and average pooling over three axes."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Elements, Kernel

__all__ = ["average_backward_3d", "average_forward_3d", "max_backward_3d", "max_forward_3d"]

FILE = "volume_pooling"
WINDOW = """
    int depth, int height, int width, int out_d, int out_h, int out_w, int kernel_d, int kernel_h, int kernel_w,
    int stride_d, int stride_h, int stride_w, int pad_d, int pad_h, int pad_w
"""
COUNTED = "int first_d, int first_h, int first_w, int end_d, int end_h, int end_w"

max_forward_3d = Kernel(FILE, "max_forward_3d", f"""
    const stored* x, stored* y, int* mask, real* top_mask, Index count, {WINDOW}
""", Elements())  # fmt: skip
max_backward_3d = Kernel(FILE, "max_backward_3d", f"""
    const stored* dy, const int* mask, stored* dx, Index count, {WINDOW}
""", Elements())  # fmt: skip
average_forward_3d = Kernel(FILE, "average_forward_3d", f"""
    const stored* x, stored* y, Index count, {WINDOW}, {COUNTED}
""", Elements())  # fmt: skip
average_backward_3d = Kernel(FILE, "average_backward_3d", f"""
    const stored* dy, stored* dx, Index count, {WINDOW}, {COUNTED}
""", Elements())  # fmt: skip
