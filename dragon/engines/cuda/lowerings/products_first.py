"""The three products of a convolution by cuBLAS, on images whose channels lie first.

A pointwise convolution is a product for each image. Others are products with columns that convolution.cu or volume.cu
has unfolded. Named as in filtering.py.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from dragon.engines.cuda.device.device import Matrix
from dragon.engines.cuda.kernels import convolution as kernels
from dragon.engines.cuda.kernels import volume
from dragon.engines.cuda.lowerings.lowering import by_channel
from dragon.engines.cuda.lowerings.windows import axes_of

if TYPE_CHECKING:
    from dragon.engines.cuda.lowerings.filtering import Filtering

__all__ = ["fold", "narrow_from_wide", "unfold", "weight_gradient", "weight_gradient_by_image", "wide_from_narrow"]


def _columns(lowering: Filtering, wide: Any, narrow: Any, more: int = 0) -> tuple[Any, Any]:
    """Workspace for the columns of some images, (wide channels * kernel, n, positions), and for `more` elements."""
    count = wide.shape[1] * math.prod(lowering.layer.window.kernel) * wide.shape[0] * math.prod(narrow.shape[2:])
    count = -(-count // 8) * 8
    memory = lowering.device.workspace(count + more, wide.dtype)
    return memory[:count], memory[count:]


def unfold(lowering: Filtering, wide: Any, narrow: Any, columns: Any) -> None:
    """Write the columns of wide images into `columns`."""
    n, c = wide.shape[:2]
    count = c * math.prod(lowering.layer.window.kernel) * n * math.prod(narrow.shape[2:])
    lowering.launch(
        kernels.im2col if axes_of(lowering.layer.window) == 2 else volume.im2col_3d,
        x=wide, columns=columns, count=count, channels=c, images=n, **lowering.window_of(wide, narrow),
    )  # fmt: skip


def fold(lowering: Filtering, columns: Any, bias: Any, wide: Any, narrow: Any) -> None:
    """Write the wide images whose columns these are into `wide`, plus the bias (None: none)."""
    n, c = wide.shape[:2]
    lowering.launch(
        kernels.col2im if axes_of(lowering.layer.window) == 2 else volume.col2im_3d,
        columns=columns, bias=bias, x=wide, count=wide.size, channels=c, images=n, **lowering.window_of(wide, narrow),
    )  # fmt: skip


def narrow_from_wide(lowering: Filtering, wide: Any, weight: Any, narrow: Any) -> None:
    """Compute narrow = W columns(wide), for every group."""
    for part in lowering.chunks(wide, narrow):
        x, y = wide[part], narrow[part]
        n, p = x.shape[0], math.prod(y.shape[2:])
        g, rows, inner = lowering.sizes(x, y)
        if lowering.layer.window.is_pointwise:
            columns, ld, step, of_group = x, p, inner * g * p, inner * p
        else:
            columns, _ = _columns(lowering, x, y)
            unfold(lowering, x, y, columns)
            ld, step, of_group = n * p, p, inner * n * p
        for i in range(g):
            lowering.device.gemm(
                rows, p, inner,
                Matrix(weight, inner, 0, i * rows * inner),
                Matrix(columns, ld, step, i * of_group),
                Matrix(y, p, rows * g * p, i * rows * p),
                batch=n,
            )  # fmt: skip


def wide_from_narrow(lowering: Filtering, narrow: Any, weight: Any, wide: Any, bias: Any) -> None:
    """Compute wide = fold(W^T narrow), for every group, plus `bias` unless the convolution is pointwise."""
    for part in lowering.chunks(wide, narrow):
        x, y = wide[part], narrow[part]
        n, p = x.shape[0], math.prod(y.shape[2:])
        g, rows, inner = lowering.sizes(x, y)
        direct = lowering.layer.window.is_pointwise
        if direct:
            columns, ld, step, of_group = x, p, inner * g * p, inner * p
        else:
            columns, _ = _columns(lowering, x, y)
            ld, step, of_group = n * p, p, inner * n * p
        for i in range(g):
            lowering.device.gemm(
                inner, p, rows,
                Matrix(weight, inner, 0, i * rows * inner, transposed=True),
                Matrix(y, p, rows * g * p, i * rows * p),
                Matrix(columns, ld, step, i * of_group),
                batch=n,
            )  # fmt: skip
        if not direct:
            fold(lowering, columns, bias, x, y)


def weight_gradient(lowering: Filtering, wide: Any, narrow: Any, diff: Any, add: bool) -> None:
    """Compute diff = the sum over images of narrow columns(wide)^T, a product for a group; with `add` diff += that."""
    for part in lowering.chunks(wide, narrow):
        x, y = wide[part], narrow[part]
        n, p = x.shape[0], math.prod(y.shape[2:])
        g, rows, inner = lowering.sizes(x, y)
        columns, narrow_first = _columns(lowering, x, y, y.size)
        if lowering.layer.window.is_pointwise:
            _channels_first(lowering, x, columns)
        else:
            unfold(lowering, x, y, columns)
        _channels_first(lowering, y, narrow_first)
        for i in range(g):
            lowering.device.gemm(
                rows, inner, n * p,
                Matrix(narrow_first, n * p, 0, i * rows * n * p),
                Matrix(columns, n * p, 0, i * inner * n * p, transposed=True),
                Matrix(diff, inner, 0, i * rows * inner),
                add=add, unscale=lowering.unscale,
            )  # fmt: skip
        add = True


def weight_gradient_by_image(lowering: Filtering, wide: Any, narrow: Any, diff: Any, add: bool) -> None:
    """As weight_gradient for a pointwise convolution: a product for each image, then their sum, in order."""
    n, p = wide.shape[0], math.prod(narrow.shape[2:])
    g, rows, inner = lowering.sizes(wide, narrow)
    parts = lowering.device.workspace(n * diff.size, diff.dtype)
    for i in range(g):
        lowering.device.gemm(
            rows, inner, p,
            Matrix(narrow, p, rows * g * p, i * rows * p),
            Matrix(wide, p, inner * g * p, i * inner * p, transposed=True),
            Matrix(parts, inner, diff.size, i * rows * inner),
            batch=n,
        )  # fmt: skip
    lowering.launch(
        kernels.add_images, parts=parts, diff=diff, count=diff.size, images=n, unscale=lowering.unscale, add=add
    )  # fmt: skip


def _channels_first(lowering: Filtering, x: Any, out: Any) -> None:
    n, c, s = by_channel(x.shape)
    lowering.launch(kernels.channels_first, x=x, out=out, count=x.size, images=n, channels=c, spatial=s)
