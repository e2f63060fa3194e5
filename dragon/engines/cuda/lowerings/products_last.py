"""The three products of a convolution on images whose channels lie last.

A pointwise convolution is one product of matrices, (N * H * W, C) by (C, K). Others are computed by cuDNN, with weights
(K, KH, KW, C), or on columns that channels_last.cu has unfolded. Named as in filtering.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dragon.engines.cuda.device.device import Matrix
from dragon.engines.cuda.device.layout import Layout
from dragon.engines.cuda.kernels import channels_last as kernels
from dragon.engines.cuda.kernels import layout
from dragon.engines.cuda.lowerings.lowering import aligned

if TYPE_CHECKING:
    from dragon.engines.cuda.lowerings.filtering import Filtering

__all__ = [
    "PADDED_TO",
    "accumulate_weight",
    "is_flat",
    "narrow_from_wide",
    "pad_channels",
    "weight_gradient",
    "weight_last",
    "wide_from_narrow",
]

PADDED_TO = {2: (4, 8), 4: (4,)}  # by bytes of a number: channels that cuDNN's kernels for tensor cores take at a time


def _matrix(weight: Any) -> tuple[int, int, int]:
    """(K, C, KH * KW) of weights (K, C, KH, KW)."""
    return weight.shape[0], weight.shape[1], math.prod(weight.shape[2:])


def weight_last(lowering: Filtering, weight: Any) -> Any:
    """The layer's weights (K, C, KH, KW), or those of a timing, as (K, KH, KW, C)."""
    batch, rows, columns = _matrix(weight)
    if is_flat(weight):
        return weight
    if lowering.weight_last is not None and not lowering.is_timing:
        copy = lowering.weight_last(lowering.layer.weight.data_storage, Layout(rows, columns))
        if copy is not None:
            return copy.reshape(weight.shape)
    out = lowering.buffer("weight last", weight.shape, weight.dtype)
    if lowering.is_timing:
        if lowering.turned is weight:
            return out
        lowering.turned = weight
    lowering.launch(
        layout.transpose, grid=lowering.device.grid(weight.size), x=weight, y=out, factor=None,
        **layout.matrices(batch, rows, columns),
    )  # fmt: skip
    return out


def is_flat(weight: Any) -> bool:
    """Whether weights (K, C, KH, KW) lie in memory as (K, KH, KW, C) do."""
    return 1 in _matrix(weight)[1:]


def accumulate_weight(lowering: Filtering, found: Any, diff: Any, add: bool) -> None:
    """Launch diff (K, C, KH, KW) = found (K, KH, KW, C), without the loss scale; with `add` diff += that."""
    _, rows, columns = _matrix(diff)
    lowering.launch(
        layout.accumulate_transposed, x=found, y=diff, count=diff.size, rows=rows, columns=columns,
        factor=lowering.unscale, add=add,
    )  # fmt: skip


def pad_channels(lowering: Filtering, name: str, x: Any, shape: tuple[int, ...]) -> Any:
    """The buffer `name` of this shape (N, C, H, W): x with zeros as further channels, or without its last ones."""
    out = lowering.buffer(name, shape, x.dtype)
    lowering.launch(
        layout.pad_channels, x=x, y=out, count=out.size, channels=x.shape[1], padded=shape[1],
        vectors=shape[1] == 16 // x.dtype.itemsize and aligned(out),
    )  # fmt: skip
    return out


def _rows(narrow: Any) -> int:
    return int(narrow.shape[0] * math.prod(narrow.shape[2:]))


def _columns(lowering: Filtering, wide: Any, narrow: Any) -> tuple[Any, int]:
    """An array for the columns (N * OH * OW, C * KH * KW) of wide images, and the length of a row.

    It is `wide` itself where nothing is unfolded.
    """
    row = wide.shape[1] * math.prod(lowering.layer.window.kernel)
    if lowering.layer.window.is_pointwise:
        return wide, row
    return lowering.device.workspace(_rows(narrow) * row, wide.dtype), row


def narrow_from_wide(lowering: Filtering, wide: Any, weight: Any, narrow: Any) -> None:
    """Compute narrow = columns(wide) W^T, for every group."""
    for x, y in _parts(lowering, wide, narrow):
        g, rows, inner = lowering.sizes(x, y)
        columns, row = _unfolded(lowering, x, y)
        for i in range(g):
            lowering.device.gemm(
                _rows(y), rows, inner,
                Matrix(columns, row, 0, i * inner),
                Matrix(weight, inner, 0, i * rows * inner, transposed=True),
                Matrix(y, g * rows, 0, i * rows),
            )  # fmt: skip


def wide_from_narrow(lowering: Filtering, narrow: Any, weight: Any, wide: Any, bias: Any) -> None:
    """Compute wide = fold(narrow W), for every group, plus `bias` unless the convolution is pointwise."""
    for x, y in _parts(lowering, wide, narrow):
        g, rows, inner = lowering.sizes(x, y)
        columns, row = _columns(lowering, x, y)
        for i in range(g):
            lowering.device.gemm(
                _rows(y), inner, rows,
                Matrix(y, g * rows, 0, i * rows),
                Matrix(weight, inner, 0, i * rows * inner),
                Matrix(columns, row, 0, i * inner),
            )  # fmt: skip
        if columns is not x:
            lowering.launch(
                kernels.col2im_last, columns=columns, bias=bias, x=x, count=x.size, channels=x.shape[1],
                **lowering.window_of(x, y),
            )  # fmt: skip


def weight_gradient(lowering: Filtering, wide: Any, narrow: Any, diff: Any, add: bool) -> None:
    """Compute diff = narrow^T columns(wide), for every group; with `add` diff += that."""
    for x, y in _parts(lowering, wide, narrow):
        g, rows, inner = lowering.sizes(x, y)
        columns, row = _unfolded(lowering, x, y)
        for i in range(g):
            lowering.device.gemm(
                rows, inner, _rows(y),
                Matrix(y, g * rows, 0, i * rows, transposed=True),
                Matrix(columns, row, 0, i * inner),
                Matrix(diff, inner, 0, i * rows * inner),
                add=add, unscale=lowering.unscale,
            )  # fmt: skip
        add = True


def _parts(lowering: Filtering, wide: Any, narrow: Any) -> Iterable[tuple[Any, Any]]:
    """Wide and narrow images, as many at a time as columns may take memory; all where nothing is unfolded."""
    if lowering.layer.window.is_pointwise:
        return [(wide, narrow)]
    return ((wide[part], narrow[part]) for part in lowering.chunks(wide, narrow))


def _unfolded(lowering: Filtering, wide: Any, narrow: Any) -> tuple[Any, int]:
    """The columns of wide images, and the length of a row."""
    columns, row = _columns(lowering, wide, narrow)
    if columns is not wide:
        lowering.launch(
            kernels.im2col_last, x=wide, columns=columns, count=_rows(narrow) * row, channels=wide.shape[1],
            **lowering.window_of(wide, narrow),
        )  # fmt: skip
    return columns, row
