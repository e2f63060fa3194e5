"""Kernels of regions.cu: pooling of regions."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Elements, Kernel

__all__ = [
    "psroi_backward", "psroi_forward", "roi_align_backward", "roi_align_forward", "roi_align_weights", "roi_backward",
    "roi_forward",
]  # fmt: skip

FILE = "regions"
REGIONS = """
    int items, Divisor channels, Divisor height, Divisor width, Divisor bins_h, Divisor bins_w, double scale
"""

roi_forward = Kernel(FILE, "roi_forward", f"""
    const stored* x, const real* rois, stored* y, int* winner, Index count, {REGIONS}
""", Elements())  # fmt: skip
roi_backward = Kernel(FILE, "roi_backward", f"""
    const stored* dy, const real* rois, const int* winner, stored* dx, Index count, int regions, {REGIONS}
""", Elements())  # fmt: skip
roi_align_weights = Kernel(FILE, "roi_align_weights", """
    const real* rois, real* weights, Index count, int axis, Divisor bins, Divisor size, int ratio, double scale
""", Elements())  # fmt: skip
roi_align_forward = Kernel(FILE, "roi_align_forward", f"""
    const stored* x, const real* rois, const real* rows, const real* columns, stored* y, Index count, {REGIONS}
""", Elements())  # fmt: skip
roi_align_backward = Kernel(FILE, "roi_align_backward", f"""
    const stored* dy, const real* rois, const real* rows, const real* columns, stored* dx, Index count, int regions,
    {REGIONS}
""", Elements())  # fmt: skip
psroi_forward = Kernel(FILE, "psroi_forward", f"""
    const stored* x, const real* rois, stored* y, Index count, Divisor outputs, {REGIONS}
""", Elements())  # fmt: skip
psroi_backward = Kernel(FILE, "psroi_backward", f"""
    const stored* dy, const real* rois, stored* dx, Index count, int regions, int outputs, {REGIONS}
""", Elements())  # fmt: skip
