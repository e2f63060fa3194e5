"""Filtering: layouts, primitives and steps of a convolution by Winograd's method, and when it is worth while."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from dragon.engines.onednn.kernels import combine
from dragon.engines.onednn.kernels import convolution as conv
from dragon.engines.onednn.kernels.matmul import matmul
from dragon.engines.onednn.kernels.winograd import POINTS, Tiling
from dragon.engines.onednn.library.constants import Arg, DataType, Tag
from dragon.engines.onednn.library.descriptor import MemoryDesc, Shape
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.layouts import BLOCKED, block_of
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import Call, EltwisePost, PostOp, Primitive
from dragon.engines.onednn.lowerings.parameters import Parameters
from dragon.engines.onednn.plan.builder import Builder, NotLoweredError
from dragon.memory.bf16 import to_bf16

__all__ = ["Filtering", "Slot", "constant", "filtering"]

STACKS = {  # layout of one point's weights -> the same with the points as first axis
    Tag.ABcd16b16a: Tag.aBCde16c16b,
    Tag.ABcd16a16b: Tag.aBCde16b16c,
    Tag.ABcd8b8a: Tag.aBCde8c8b,
    Tag.ABcd8a8b: Tag.aBCde8b8c,
    Tag.ABcd8b16a2b: Tag.aBCde8c16b2c,
    Tag.ABcd8a16b2a: Tag.aBCde8b16c2b,
}
FEWEST = 16  # images in the batch
WORTH = 0.95  # of the direct sum's time
NARROWEST = 8  # images at a time
TALLEST = 40  # the transforms are full matrices
CACHED = 2_000_000  # bytes of the largest of the intermediate data


class Slot(IntEnum):
    """Slots of scratch memory, used within a layer's steps only."""

    rows = 1
    products = 2
    scattered = 3
    weights = 4
    reordered_weights = 5
    gradients = 6


def filtering(b: Builder, spec: conv.ConvSpec, post_ops: Sequence[PostOp], name: str) -> Filtering | None:
    """The filtering for a convolution; None where the direct sum is faster or the only way."""
    if not b.winograd or not all(isinstance(post, EltwisePost) for post in post_ops):
        return None
    tiling = _tiling(spec, b.training)
    found = Filtering(b, spec, tiling, name) if tiling is not None else None
    return found if found is not None and found.is_supported else None


def _tiling(spec: conv.ConvSpec, training: bool) -> Tiling | None:
    """The one that is expected to be the fastest; None if the direct sum is, or nearly."""
    if spec.transposed or spec.groups != 1 or len(spec.kernel) != 2 or spec.kernel[0] < 2:
        return None
    if spec.stride[0] != 1 or spec.dilation[0] != 1 or spec.src[0] < FEWEST or spec.src[2] > TALLEST:
        return None
    _, inputs, height, width = spec.src
    _, outputs, high, wide = spec.dst
    taps, across = spec.kernel
    tilings = [Tiling(height, spec.pad[0], taps, high, tile) for tile in range(2, len(POINTS) + 3 - taps)]

    def cost(tiling: Tiling) -> float:
        """In the time that one product takes in the direct sum; the factors are measured."""
        rows = tiling.points * tiling.tiles
        products = 1.15 * inputs * outputs * wide * across * rows
        moved = (inputs + outputs) * width * (80 * height + 40 * rows + rows * height / 2)
        called = 250_000 * (tiling.points + 4) / _images(spec, tiling)
        if not training:
            return products + moved + called
        weights = 30 * (3 * taps + 6 * tiling.points) * inputs * outputs * across / spec.src[0]  # anew in every step
        return 3 * (products + called) + 2 * moved + weights

    best = min(tilings, key=cost, default=None)
    direct = inputs * outputs * wide * across * high * taps * (3 if training else 1)
    return best if best is not None and cost(best) < WORTH * direct else None


def _images(spec: conv.ConvSpec, tiling: Tiling) -> int:
    """Images at a time, a divisor of the batch: as many as fit the cache, or balance the traffic of the weights."""
    n = spec.src[0]
    row = max(prod(shape[1:]) // shape[2] for shape in (spec.src, spec.dst))
    each = row * tiling.points * tiling.tiles * (2 if spec.dtype == DataType.bf16 else 4)
    budget = max(CACHED, prod(spec.weights) // tiling.taps * tiling.points * 4)
    counts = [count for count in range(min(NARROWEST, n), n + 1) if n % count == 0]
    return max([count for count in counts if count * each <= budget], default=counts[0])


@dataclass(frozen=True)
class Filtering:
    """One convolution by Winograd's method: its layouts, primitives and steps. Shapes are those of `images` images."""

    b: Builder
    spec: conv.ConvSpec
    tiling: Tiling
    name: str

    @cached_property
    def images(self) -> int:
        """Images at a time."""
        return _images(self.spec, self.tiling)

    @property
    def src(self) -> Shape:
        """The shape of the bottom of `images` images."""
        return (self.images, *self.spec.src[1:])

    @property
    def dst(self) -> Shape:
        """The shape of the top of `images` images."""
        return (self.images, *self.spec.dst[1:])

    @cached_property
    def point_spec(self) -> conv.ConvSpec:
        """The convolution of one point: tiles in the place of images, width and images as the two axes."""
        s, (n, inputs, _, width) = self.spec, self.src
        return conv.ConvSpec(
            src=(self.tiling.tiles, inputs, width, n),
            dst=(self.tiling.tiles, s.dst[1], s.dst[3], n),
            kernel=(s.kernel[1], 1),
            stride=(s.stride[1], 1),
            pad=(s.pad[1], 0),
            dilation=(s.dilation[1], 1),
            bias=False,
            dtype=s.dtype,
        )

    @cached_property
    def block(self) -> int:
        """Channels that lie together in the layout that the library prefers on this CPU; 0: another layout."""
        return block_of(conv.forward(self.b.device, self.point_spec, training=True)[Arg.SRC])

    @property
    def is_supported(self) -> bool:
        """Whether channels come in whole blocks, and the weights have a known layout."""
        if not self.block or self.spec.src[1] % self.block or self.spec.dst[1] % self.block:
            return False
        return _tag_of(self.forward(False)[Arg.WEIGHTS]) is not None

    # -- layouts --------------------------------------------------------------------------------------------
    def blocked(self, shape: Shape) -> MemoryDesc:
        """The blocked layout of a shape (N, C, H, W)."""
        return MemoryDesc.tagged(shape, self.spec.dtype, BLOCKED[self.block][4])

    def matrix(self, rows: int, shape: Shape) -> MemoryDesc:
        """Rows of a height, whose other axes are `shape`'s without the height."""
        return MemoryDesc.plain((rows, prod(shape) // shape[2]), self.spec.dtype)

    @property
    def rows(self) -> int:
        """Rows of transformed data: points times tiles."""
        return self.tiling.points * self.tiling.tiles

    def chunks(self, whole: Memory, shape: Shape) -> Iterator[Memory]:
        """Blocked data of the whole batch, a few images at a time: (N, blocks, height, width, block)."""
        n, c, h, w = shape
        desc = MemoryDesc.plain((n, c // self.block, h, w, self.block), self.spec.dtype)
        for at in range(0, whole.desc.size, desc.size):
            yield whole.view(desc, at)

    # -- steps ----------------------------------------------------------------------------------------------
    def forward(self, bias: bool) -> Primitive:
        """The convolution of one point."""
        spec = replace(self.point_spec, bias=bias)
        src, dst = self.blocked(spec.src), self.blocked(spec.dst)
        return conv.forward(self.b.device, spec, src=src, dst=dst, training=self.b.training, layer=self.name)

    def reorder(self, source: Memory, target: Memory) -> Call:
        """A conversion between two memories."""
        primitive = combine.reorder(self.b.device, source.desc, target.desc, layer=self.name)
        return self.b.prepared(primitive, {Arg.SRC: source, Arg.DST: target})

    def product(self, matrix: NDArray[np.float64], source: Memory, target: Memory, *post: PostOp) -> Call:
        """Compute target = matrix source, both seen as matrices."""
        left = constant(self.b.device, matrix, source.desc.dtype)
        primitive = matmul(self.b.device, left.desc, source.desc, target.desc, post_ops=post, layer=self.name)
        return self.b.prepared(primitive, {Arg.SRC: left, Arg.WEIGHTS: source, Arg.DST: target})

    def by_rows(self, shape: Shape) -> tuple[Memory, Memory]:
        """Memory in the order [height][block][width][N][channel], seen as a chunk is and as a matrix."""
        n, c, h, w = shape
        block = self.block
        strides = (block, w * n * block, c * w * n, n * block, 1)
        rows = self.b.scratch(MemoryDesc.plain((n, c // block, h, w, block), self.spec.dtype, strides), Slot.rows)
        return rows, self.b.part(rows, self.matrix(h, shape))

    def transform(self, chunk: Memory, matrix: NDArray[np.float64], shape: Shape, slot: int) -> Memory:
        """Append the steps that multiply a chunk's heights by `matrix`; returns the result."""
        target = self.b.scratch(self.matrix(self.rows, shape), slot)
        for call in self.transforming(chunk, matrix, shape, target):
            self.b.run(call)
        return target

    def transforming(self, chunk: Memory, matrix: NDArray[np.float64], shape: Shape, target: Memory) -> list[Call]:
        """The steps of `transform`, into `target`."""
        reordered, rows = self.by_rows(shape)
        return [self.reorder(chunk, reordered), self.product(matrix, rows, target)]

    def transform_back(
        self, source: Memory, matrix: NDArray[np.float64], chunk: Memory, shape: Shape, *post: PostOp
    ) -> None:
        """Append the steps chunk = matrix source."""
        reordered, rows = self.by_rows(shape)
        self.b.run(self.product(matrix, source, rows, *post))
        self.b.run(self.reorder(reordered, chunk))

    def point(self, memory: Memory, desc: MemoryDesc, index: int) -> Memory:
        """One point's share of a memory that holds them all."""
        return self.b.part(memory, desc, index * desc.size)

    # -- weights --------------------------------------------------------------------------------------------
    @property
    def base(self) -> Tag:
        """The layout of a point's weights in forward, and of their gradients."""
        return Tag.ABcd16b16a if self.block == 16 else Tag.ABcd8b8a

    @property
    def host(self) -> MemoryDesc:
        """The blob as a stack of one matrix for each row of the kernel."""
        high, across = self.spec.kernel
        outputs, inputs = self.spec.dst[1], self.spec.src[1]
        strides = (across, inputs * high * across, high * across, 1, 1)
        return MemoryDesc.plain((high, outputs, inputs, across, 1), DataType.f32, strides)

    def stack(self, count: int, tag: Tag, dtype: DataType = DataType.f32) -> MemoryDesc:
        """The layout of `count` matrices of weights, each in the layout `tag`."""
        return MemoryDesc.tagged((count, *self.point_spec.weights), dtype, STACKS[tag])

    def flat(self, memory: Memory) -> Memory:
        """A stack seen as a matrix."""
        count, *shape = memory.desc.dims
        return self.b.part(memory, MemoryDesc.plain((count, prod(shape))))

    def weights(self, parameters: Parameters, wanted: MemoryDesc) -> Memory:
        """The transformed weights; those of each point in the layout `wanted`."""
        b = self.b
        taps = parameters.weights(self.stack(self.spec.kernel[0], self.base), self.host)
        desc = self.stack(self.tiling.points, self.base)
        tag = _tag_of(wanted)
        if tag is None:
            raise NotLoweredError(f"weights of an unknown layout {wanted}")
        final = self.stack(self.tiling.points, tag, wanted.dtype)
        cached = not b.training  # they seldom change then
        points = Memory(b.device, desc) if cached and final == desc else b.scratch(desc, Slot.weights)
        steps = [self.product(self.tiling.weights(), self.flat(taps), self.flat(points))]
        result = points
        if final != desc:
            result = Memory(b.device, final) if cached else b.scratch(final, Slot.reordered_weights)
            steps.append(self.reorder(points, result))
        for step in steps:
            if cached:
                b.when_changed(parameters.blobs, step)
            else:
                b.run(step)
        return result


def constant(device: Device, matrix: NDArray[np.float64], dtype: DataType = DataType.f32) -> Memory:
    """A matrix in memory, float32 or bf16."""
    values = np.ascontiguousarray(matrix, np.float32)
    return Memory.wrap(device, to_bf16(values) if dtype == DataType.bf16 else values, dtype)


def _tag_of(desc: MemoryDesc) -> Tag | None:
    """Which of the known layouts of one point's weights this is."""
    for tag in STACKS:
        if desc == MemoryDesc.tagged(desc.dims, desc.dtype, tag):
            return tag
    return None
