"""Kernels of convolution.cu: unfolding and folding of windows over two axes, biases, depthwise convolution."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Elements, Kernel

__all__ = [
    "add_bias",
    "add_images",
    "channels_first",
    "col2im",
    "depthwise_backward_data",
    "depthwise_backward_weight",
    "depthwise_forward",
    "im2col",
]

FILE = "convolution"
WINDOW = """
    Divisor height, Divisor width, Divisor out_h, Divisor out_w, Divisor kernel_h, Divisor kernel_w, Divisor stride_h,
    Divisor stride_w, int pad_h, int pad_w, int dilation_h, int dilation_w
"""

im2col = Kernel(FILE, "im2col", f"""
    const stored* x, stored* columns, Index count, Divisor channels, Divisor images, {WINDOW}
""", Elements())  # fmt: skip
col2im = Kernel(FILE, "col2im", f"""
    const stored* columns, const real* bias, stored* x, Index count, Divisor channels, Divisor images, {WINDOW}
""", Elements())  # fmt: skip
channels_first = Kernel(FILE, "channels_first", """
    const stored* x, stored* out, Index count, Divisor images, Index channels, Divisor spatial
""", Elements())  # fmt: skip
add_images = Kernel(FILE, "add_images", """
    const real* parts, real* diff, Index count, Index images, const real* unscale, int add
""", Elements())  # fmt: skip
add_bias = Kernel(FILE, "add_bias", """
    stored* y, const real* bias, Index count, Divisor channels, Divisor spatial, int vectors
""", Elements())  # fmt: skip
depthwise_forward = Kernel(FILE, "depthwise_forward", f"""
    const stored* x, const real* weight, const real* bias, stored* y, Index count, Divisor channels, {WINDOW}
""", Elements())  # fmt: skip
depthwise_backward_data = Kernel(FILE, "depthwise_backward_data", f"""
    const stored* dy, const real* weight, stored* dx, Index count, Divisor channels, {WINDOW}
""", Elements())  # fmt: skip
depthwise_backward_weight = Kernel(FILE, "depthwise_backward_weight", f"""
    const stored* x, const stored* dy, real* dweight, const real* unscale, int add, Index n, Divisor channels, {WINDOW}
""")  # fmt: skip
