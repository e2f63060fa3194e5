"""Kernels of volume.cu: unfolding and folding of windows over three axes."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Elements, Kernel

__all__ = ["col2im_3d", "im2col_3d"]

FILE = "volume"
WINDOW = """
    Divisor depth, Divisor height, Divisor width, Divisor out_d, Divisor out_h, Divisor out_w, Divisor kernel_d,
    Divisor kernel_h, Divisor kernel_w, Divisor stride_d, Divisor stride_h, Divisor stride_w, int pad_d, int pad_h,
    int pad_w, int dilation_d, int dilation_h, int dilation_w
"""

im2col_3d = Kernel(FILE, "im2col_3d", f"""
    const stored* x, stored* columns, Index count, Divisor channels, Divisor images, {WINDOW}
""", Elements())  # fmt: skip
col2im_3d = Kernel(FILE, "col2im_3d", f"""
    const stored* columns, const real* bias, stored* x, Index count, Divisor channels, Divisor images, {WINDOW}
""", Elements())  # fmt: skip
