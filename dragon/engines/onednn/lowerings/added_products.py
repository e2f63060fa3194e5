"""Gradients that products of matrices add to the diffs of parameters themselves, without memory in between.

For an inner product of few images the way of its weights through memory is most of the time: a gradient that is
written, read again and added takes twice as long.
"""

from __future__ import annotations

import numpy as np

from dragon.engines.onednn.kernels.matmul import matmul
from dragon.engines.onednn.library.constants import Arg
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import Primitive, SumPost
from dragon.engines.onednn.plan.builder import Builder
from dragon.memory.blob import Blob

__all__ = ["add_column_sums", "add_outer_products", "as_fast"]


def as_fast(gradient: Primitive) -> bool:
    """Whether the library's kernel for the gradient of an inner product's weights is the same product of matrices."""
    return "gemm:jit" in gradient.implementation


def add_outer_products(b: Builder, blob: Blob, left: Memory, right: Memory) -> None:
    """Add left^T right to the diff of `blob`, (I, J) in row-major order; left (N, I), right (N, J), float32."""
    (rows, i), (_, j) = left.desc.dims, right.desc.dims
    turned = MemoryDesc.plain((i, rows), strides=(1, i))
    target = MemoryDesc.plain((i, j))
    primitive = matmul(b.device, turned, right.desc, target, post_ops=[SumPost()])
    diff = b.diff_to_add_to(blob, target)
    b.call(primitive, {Arg.SRC: left.view(turned), Arg.WEIGHTS: right, Arg.DST: diff})


def add_column_sums(b: Builder, blob: Blob, matrix: Memory) -> None:
    """Add the sums over the rows of an (N, J) matrix to the diff of `blob`, J values; float32."""
    rows, columns = matrix.desc.dims
    ones = Memory.wrap(b.device, np.ones((1, rows), np.float32))
    target = MemoryDesc.plain((1, columns))
    primitive = matmul(b.device, ones.desc, matrix.desc, target, post_ops=[SumPost()])
    diff = b.diff_to_add_to(blob, target)
    b.call(primitive, {Arg.SRC: ones, Arg.WEIGHTS: matrix, Arg.DST: diff})
