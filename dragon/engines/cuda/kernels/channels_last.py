"""Kernels of channels_last.cu: pooling and unfolding of images whose channels lie last."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Elements, Kernel

__all__ = [
    "average_backward_last",
    "average_forward_last",
    "col2im_last",
    "im2col_last",
    "max_backward_last",
    "max_forward_last",
]

FILE = "channels_last"

max_forward_last = Kernel(FILE, "max_forward_last", """
    const stored* x, stored* y, unsigned char* mask, int vectors, Divisor parts, Index count, Divisor channels,
    Divisor height, Divisor width, Divisor out_h, Divisor out_w, Divisor kernel_h, Divisor kernel_w, Divisor stride_h,
    Divisor stride_w, int pad_h, int pad_w, int mark, int rectify, real slope
""", Elements())  # fmt: skip
max_backward_last = Kernel(FILE, "max_backward_last", """
    const stored* dy, const unsigned char* mask, stored* dx, stored* masked, int vectors, Divisor parts, Index count,
    Divisor channels, Divisor height, Divisor width, Divisor out_h, Divisor out_w, Divisor kernel_h, Divisor kernel_w,
    Divisor stride_h, Divisor stride_w, int pad_h, int pad_w, int mark, real slope
""", Elements())  # fmt: skip
average_forward_last = Kernel(FILE, "average_forward_last", """
    const stored* x, stored* y, int vectors, Divisor parts, Index count, Divisor channels, Divisor height,
    Divisor width, Divisor out_h, Divisor out_w, Divisor kernel_h, Divisor kernel_w, Divisor stride_h,
    Divisor stride_w, int pad_h, int pad_w, int first_h, int first_w, int end_h, int end_w
""", Elements())  # fmt: skip
average_backward_last = Kernel(FILE, "average_backward_last", """
    const stored* dy, const stored* x, stored* dx, int vectors, Divisor parts, Index count, Divisor channels,
    Divisor height, Divisor width, Divisor out_h, Divisor out_w, Divisor kernel_h, Divisor kernel_w, Divisor stride_h,
    Divisor stride_w, int pad_h, int pad_w, real slope, int first_h, int first_w, int end_h, int end_w
""", Elements())  # fmt: skip
im2col_last = Kernel(FILE, "im2col_last", """
    const stored* x, stored* columns, Index count, Divisor channels, Divisor height, Divisor width, Divisor out_h,
    Divisor out_w, Divisor kernel_h, Divisor kernel_w, Divisor stride_h, Divisor stride_w, int pad_h, int pad_w,
    int dilation_h, int dilation_w
""", Elements())  # fmt: skip
col2im_last = Kernel(FILE, "col2im_last", """
    const stored* columns, const real* bias, stored* x, Index count, Divisor channels, Divisor height, Divisor width,
    Divisor out_h, Divisor out_w, Divisor kernel_h, Divisor kernel_w, Divisor stride_h, Divisor stride_w, int pad_h,
    int pad_w, int dilation_h, int dilation_w
""", Elements())  # fmt: skip
