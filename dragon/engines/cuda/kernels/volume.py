"""Kernels of volume.cu: unfolding and folding of windows over three axes."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Elements, Kernel

__all__ = ["col2im_3d", "im2col_3d"]

FILE = "volume"
WINDOW = """
    int depth, int height, int width, int out_d, int out_h, int out_w, int kernel_d, int kernel_h, int kernel_w,
    int stride_d, int stride_h, int stride_w, int pad_d, int pad_h, int pad_w, int dilation_d, int dilation_h,
    int dilation_w
"""

im2col_3d = Kernel(FILE, "im2col_3d", f"""
    const stored* x, stored* columns, Index count, int channels, Index images, {WINDOW}
""", Elements())  # fmt: skip
col2im_3d = Kernel(FILE, "col2im_3d", f"""
    const stored* columns, const real* bias, stored* x, Index count, int channels, Index images, {WINDOW}
""", Elements())  # fmt: skip
