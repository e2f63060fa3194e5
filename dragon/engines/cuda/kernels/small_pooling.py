"""Kernels of small_pooling.cu: pooling by the usual small windows over two axes, averages of whole planes."""

from __future__ import annotations

from dataclasses import dataclass

from dragon.engines.cuda.kernels.kernel import WARP, Elements, Kernel

__all__ = ["WINDOWS", "SmallWindow", "plane_average", "plane_average_backward"]

FILE = "small_pooling"
OUTPUTS = "Index count, int height, int width, Divisor out_h, Divisor out_w"
STRIPS = "Index count, int whole, Divisor strips, Divisor height, int width, int out_h, int out_w"
COUNTED = "int first_h, int first_w, int end_h, int end_w"

plane_average = Kernel(FILE, "plane_average", """
    const stored* x, stored* y, Index planes, Index size
""", Elements("planes", together=WARP))  # fmt: skip
plane_average_backward = Kernel(FILE, "plane_average_backward", """
    const stored* dy, const stored* x, stored* dx, Index count, int vectors, Divisor size, real slope
""", Elements())  # fmt: skip


@dataclass(frozen=True)
class SmallWindow:
    """What WINDOW in small_pooling.cu makes: pooling by one window, forward and backward."""

    max_forward: Kernel
    max_backward: Kernel
    average_forward: Kernel
    average_backward: Kernel


def _window(size: int, stride: int, pad: int) -> SmallWindow:
    name = f"{size}{stride}{pad}"
    return SmallWindow(
        Kernel(FILE, f"max_forward_{name}", f"""
            const stored* x, stored* y, unsigned char* positions, real* top_mask, {OUTPUTS}, int mark,
            int rectify, real slope
        """, Elements()),
        Kernel(FILE, f"max_backward_{name}", f"""
            const stored* dy, const unsigned char* positions, stored* dx, stored* masked, {STRIPS}, real slope
        """, Elements()),
        Kernel(FILE, f"average_forward_{name}", f"const stored* x, stored* y, {OUTPUTS}, {COUNTED}", Elements()),
        Kernel(FILE, f"average_backward_{name}", f"""
            const stored* dy, const stored* x, stored* dx, {STRIPS}, real slope, {COUNTED}
        """, Elements()),
    )  # fmt: skip


# by size, stride and padding, the same along both axes
WINDOWS = {key: _window(*key) for key in ((2, 2, 0), (3, 2, 0), (3, 2, 1), (3, 1, 1))}
