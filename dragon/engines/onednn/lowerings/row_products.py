"""The gradient of a convolution's weights as matrix products of rows of pixels, for maps of one or two rows or columns.

With the images innermost oneDNN has no float32 kernel for these but one that unfolds the images. For each tap the sum
over images and pixels is a product of the diffs of a piece of a row with the pixels of the bottom below it; padding is
not multiplied, and products of the same tap are added up in their result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from math import prod

from dragon.engines.onednn.kernels.convolution import ConvSpec
from dragon.engines.onednn.kernels.matmul import matmul
from dragon.engines.onednn.library.constants import Arg
from dragon.engines.onednn.library.descriptor import MemoryDesc, Shape
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import SumPost
from dragon.engines.onednn.lowerings.added_products import add_column_sums
from dragon.engines.onednn.plan.builder import Builder
from dragon.memory.blob import Blob

__all__ = ["add_row_products", "meetings"]

FLOAT = 4  # bytes


def add_row_products(
    b: Builder,
    spec: ConvSpec,
    weight: Blob | None,
    bias: Blob | None,
    source: Callable[[MemoryDesc], Memory],
    diff_of_top: Callable[[MemoryDesc], Memory],
) -> None:
    """Add the gradients of weights and bias to the blobs' diffs; None for one that is not wanted.

    spec: float32, one group. source, diff_of_top: give the data in a layout.
    """
    images, inputs, outputs = spec.src[0], spec.src[1], spec.dst[1]
    diffs = diff_of_top(_pixels(spec.dst))
    if weight is not None:
        bottom = source(_pixels(spec.src))
        taps = len(spec.kernel)
        # (tap, output, input)
        strides = (inputs, 1, *(outputs * inputs * prod(spec.kernel[i + 1 :]) for i in range(taps)))
        total, add_weights = b.weight_diff(
            weight, MemoryDesc.plain(spec.weights, strides=strides), MemoryDesc.plain(spec.weights)
        )
        begun = set()  # taps that meet no pixel stay zero, as the memory is when it is new
        for tap, below, above, length in _pieces(spec):
            rows = length * images
            left = MemoryDesc.plain((outputs, rows), strides=(1, outputs))
            right = MemoryDesc.plain((rows, inputs))
            target = MemoryDesc.plain((outputs, inputs))
            primitive = matmul(b.device, left, right, target, post_ops=[SumPost()] if tap in begun else [])
            begun.add(tap)
            arguments = {
                Arg.SRC: diffs.view(left, above * images * outputs * FLOAT),
                Arg.WEIGHTS: bottom.view(right, below * images * inputs * FLOAT),
                Arg.DST: total.view(target, tap * outputs * inputs * FLOAT),
            }
            b.call(primitive, arguments)
        add_weights()
    if bias is not None:
        every = MemoryDesc.plain((prod(spec.dst) // outputs, outputs))
        add_column_sums(b, bias, diffs.view(every))


def _pixels(shape: Shape) -> MemoryDesc:
    """(N, C, spatial...) in the order spatial..., N, C."""
    images, channels, *space = shape
    inner = tuple(prod(space[i + 1 :]) * images * channels for i in range(len(space)))
    return MemoryDesc.plain(shape, strides=(channels, 1, *inner))


def _pieces(spec: ConvSpec) -> Iterator[tuple[int, int, int, int]]:
    """(tap, first pixel of the bottom, first pixel of the top, number of pixels) of all products."""
    *rows, row = [meetings(spec, axis) for axis in range(len(spec.kernel))]
    width, wide, across = spec.src[-1], spec.dst[-1], spec.kernel[-1]
    for above in product(*rows):
        tap, y, high = above[0] if above else (0, 0, 0)
        for kx, x, place, length in _runs(row):
            yield tap * across + kx, y * width + x, high * wide + place, length


def _runs(row: list[tuple[int, int, int]]) -> Iterator[tuple[int, int, int, int]]:
    """The meetings of a row as (tap, first in the bottom, first in the top, number), neighbours in both together."""
    start = 0
    for end in range(1, len(row) + 1):
        tap, x, place = row[end - 1]
        if end == len(row) or row[end] != (tap, x + 1, place + 1):
            yield (*row[start], end - start)
            start = end


def meetings(spec: ConvSpec, axis: int) -> list[tuple[int, int, int]]:
    """(tap, place in the bottom, place in the top) along a spatial axis, where the tap lies within the bottom."""
    size, step, pad, dilation = spec.src[axis + 2], spec.stride[axis], spec.pad[axis], spec.dilation[axis]
    every = product(range(spec.kernel[axis]), range(spec.dst[axis + 2]))
    met = [(tap, place * step - pad + tap * dilation, place) for tap, place in every]
    return [(tap, below, place) for tap, below, place in met if 0 <= below < size]
