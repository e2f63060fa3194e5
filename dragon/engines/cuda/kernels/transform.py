"""Kernels of transform.cu: transform_param of 8-bit images."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Elements, Kernel

__all__ = ["transform"]

FILE = "transform"

transform = Kernel(FILE, "transform", """
    const unsigned char* x, const int* places, const real* mean, stored* y, Index count, Divisor channels,
    int height, int width, Divisor out_h, Divisor out_w, int mean_kind, int mean_channels, real scale,
    int channels_last
""", Elements())  # fmt: skip
