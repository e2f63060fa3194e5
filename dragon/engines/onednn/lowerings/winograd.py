"""Convolution with fewer products: Winograd's minimal filtering along the height.

The height is transformed by matrices, and each of its points is a convolution along the width alone. In between data
lie as [height][channel block][width][image][channel], so that a transform is one product of matrices, and so that the
convolutions run over images as their innermost axis, however narrow the maps are. All of this happens for a few images
at a time, whose intermediate data stay in the cache. The gradients are the transposed formulas.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from dragon.engines.onednn import combine, conv
from dragon.engines.onednn.builder import Backward, Builder
from dragon.engines.onednn.constants import Arg, DataType, Tag
from dragon.engines.onednn.lowerings._parameters import Behind, Parameters
from dragon.engines.onednn.matmul import matmul
from dragon.engines.onednn.memory import Memory, MemoryDesc, Shape
from dragon.engines.onednn.primitive import Call, EltwisePost, PostOp, Primitive, SumPost
from dragon.engines.onednn.winograd import ONE, POINTS, Tiling

if TYPE_CHECKING:
    from dragon.layers._convolution import ConvolutionBase

__all__ = ["Filtering", "convolve", "filtering"]

BLOCKS = {16: Tag.aBcd16b, 8: Tag.aBcd8b}
STACKS = {  # layout of one point's weights -> the same with the points as first axis
    Tag.ABcd16b16a: Tag.aBCde16c16b,
    Tag.ABcd16a16b: Tag.aBCde16b16c,
    Tag.ABcd8b8a: Tag.aBCde8c8b,
    Tag.ABcd8a8b: Tag.aBCde8b8c,
}
FEWEST = 16  # images in the batch
WORTH = 0.95  # of the direct sum's time
NARROWEST = 8  # images at a time
TALLEST = 40  # the transforms are full matrices

FLOAT = 4  # bytes
CACHED = 1_400_000  # bytes of the largest of the intermediate data

# Slots of memory that is used within a layer's steps only
_ROWS, _PRODUCTS, _SCATTERED, _WEIGHTS, _TURNED = range(1, 6)


def filtering(b: Builder, spec: conv.ConvSpec, post_ops: Sequence[PostOp], name: str) -> Filtering | None:
    """How to do this convolution so, or None where the direct sum is faster or the only way."""
    if not b.winograd or spec.dtype != DataType.f32 or not all(isinstance(post, EltwisePost) for post in post_ops):
        return None
    tiling = _tiling(spec, b.training)
    found = Filtering(b, spec, tiling, name) if tiling is not None else None
    return found if found is not None and found.possible else None


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
        return 3 * (products + called) + 2 * moved if training else products + moved + called

    best = min(tilings, key=cost, default=None)
    direct = inputs * outputs * wide * across * high * taps * (3 if training else 1)
    return best if best is not None and cost(best) < WORTH * direct else None


def _images(spec: conv.ConvSpec, tiling: Tiling) -> int:
    """How many at a time, a divisor of the batch: as many as fit the cache, or balance the traffic of the weights."""
    n = spec.src[0]
    rows = tiling.points * tiling.tiles
    each = max(prod(shape[1:]) // shape[2] for shape in (spec.src, spec.dst)) * rows * FLOAT
    room = max(CACHED, prod(spec.weights) // tiling.taps * tiling.points * FLOAT)
    counts = [count for count in range(min(NARROWEST, n), n + 1) if n % count == 0]
    return max([count for count in counts if count * each <= room], default=counts[0])


@dataclass(frozen=True)
class Filtering:
    """One convolution in this form: its layouts, primitives and steps. Shapes are those of `images` images."""

    b: Builder
    spec: conv.ConvSpec
    tiling: Tiling
    name: str

    @cached_property
    def images(self) -> int:
        """How many at a time."""
        return _images(self.spec, self.tiling)

    @property
    def src(self) -> Shape:
        return (self.images, *self.spec.src[1:])

    @property
    def dst(self) -> Shape:
        return (self.images, *self.spec.dst[1:])

    @cached_property
    def along(self) -> conv.ConvSpec:
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
        )

    @cached_property
    def block(self) -> int:
        """Channels that lie together in the layout that the library prefers on this CPU; 0: another layout."""
        desc = conv.forward(self.b.device, self.along, training=True)[Arg.SRC]
        for size, tag in BLOCKS.items():
            if desc == MemoryDesc.tagged(self.along.src, DataType.f32, tag):
                return size
        return 0

    @property
    def possible(self) -> bool:
        if not self.block or self.spec.src[1] % self.block or self.spec.dst[1] % self.block:
            return False
        return _tag_of(self.forward(False)[Arg.WEIGHTS]) == self.base

    # -- layouts --------------------------------------------------------------------------------------------
    def blocked(self, shape: Shape) -> MemoryDesc:
        return MemoryDesc.tagged(shape, DataType.f32, BLOCKS[self.block])

    def matrix(self, rows: int, shape: Shape) -> MemoryDesc:
        """Rows of a height, whose other axes are `shape`'s without the height."""
        return MemoryDesc.plain((rows, prod(shape) // shape[2]))

    @property
    def rows(self) -> int:
        return self.tiling.points * self.tiling.tiles

    def chunks(self, whole: Memory, shape: Shape) -> Iterator[Memory]:
        """Blocked data of the whole batch, a few images at a time: (N, blocks, height, width, block)."""
        n, c, h, w = shape
        desc = MemoryDesc.plain((n, c // self.block, h, w, self.block))
        for at in range(0, whole.desc.size, desc.size):
            yield whole.view(desc, at)

    # -- steps ----------------------------------------------------------------------------------------------
    def forward(self, bias: bool) -> Primitive:
        spec = replace(self.along, bias=bias)
        src, dst = self.blocked(spec.src), self.blocked(spec.dst)
        return conv.forward(self.b.device, spec, src=src, dst=dst, training=self.b.training, layer=self.name)

    def reorder(self, source: Memory, target: Memory) -> None:
        primitive = combine.reorder(self.b.device, source.desc, target.desc, layer=self.name)
        self.b.call(primitive, {Arg.SRC: source, Arg.DST: target})

    def product(self, matrix: NDArray[np.float64], source: Memory, target: Memory, *post: PostOp) -> Call:
        """target = matrix source, both seen as matrices."""
        left = Memory.wrap(self.b.device, np.ascontiguousarray(matrix, np.float32))
        primitive = matmul(self.b.device, left.desc, source.desc, target.desc, post_ops=post, layer=self.name)
        return self.b.prepared(primitive, {Arg.SRC: left, Arg.WEIGHTS: source, Arg.DST: target})

    def by_rows(self, shape: Shape) -> tuple[Memory, Memory]:
        """Memory in the order [height][block][width][N][channel], seen as a chunk is and as a matrix."""
        n, c, h, w = shape
        block = self.block
        strides = (block, w * n * block, c * w * n, n * block, 1)
        rows = self.b.staging(MemoryDesc.plain((n, c // block, h, w, block), DataType.f32, strides), _ROWS)
        return rows, self.b.part(rows, self.matrix(h, shape))

    def transform(self, chunk: Memory, matrix: NDArray[np.float64], shape: Shape, slot: int) -> Memory:
        """A chunk's heights multiplied by `matrix`."""
        carried, rows = self.by_rows(shape)
        self.reorder(chunk, carried)
        target = self.b.staging(self.matrix(self.rows, shape), slot)
        self.b.run(self.product(matrix, rows, target))
        return target

    def transform_back(
        self, source: Memory, matrix: NDArray[np.float64], chunk: Memory, shape: Shape, *post: PostOp
    ) -> None:
        """The chunk becomes matrix source."""
        carried, rows = self.by_rows(shape)
        self.b.run(self.product(matrix, source, rows, *post))
        self.reorder(carried, chunk)

    def point(self, memory: Memory, desc: MemoryDesc, index: int) -> Memory:
        """One point's share of a memory that holds them all."""
        return self.b.part(memory, desc, index * desc.size)

    # -- weights --------------------------------------------------------------------------------------------
    @property
    def base(self) -> Tag:
        """Of a point's weights in forward and of their gradients."""
        return Tag.ABcd16b16a if self.block == 16 else Tag.ABcd8b8a

    @property
    def host(self) -> MemoryDesc:
        """The blob as a stack of one matrix for each row of the kernel."""
        high, across = self.spec.kernel
        outputs, inputs = self.spec.dst[1], self.spec.src[1]
        strides = (across, inputs * high * across, high * across, 1, 1)
        return MemoryDesc.plain((high, outputs, inputs, across, 1), DataType.f32, strides)

    def stack(self, count: int, tag: Tag) -> MemoryDesc:
        return MemoryDesc.tagged((count, *self.along.weights), DataType.f32, STACKS[tag])

    def flat(self, memory: Memory) -> Memory:
        """A stack seen as a matrix."""
        count, *shape = memory.desc.dims
        return self.b.part(memory, MemoryDesc.plain((count, prod(shape))))

    def weights(self, parameters: Parameters, wanted: MemoryDesc) -> Memory:
        """The transformed weights; those of each point in the layout `wanted`."""
        b = self.b
        taps = parameters.weights(self.stack(self.spec.kernel[0], self.base), self.host)
        desc = self.stack(self.tiling.points, self.base)
        if not b.training:  # they seldom change: transformed when they do
            points = Memory(b.device, desc)
            b.when_changed(parameters.blobs, self.product(self.tiling.weights(), self.flat(taps), self.flat(points)))
            return points
        points = b.staging(desc, _WEIGHTS)
        b.run(self.product(self.tiling.weights(), self.flat(taps), self.flat(points)))
        tag = _tag_of(wanted)
        assert tag is not None
        if tag == self.base:
            return points
        turned = b.staging(self.stack(self.tiling.points, tag), _TURNED)
        self.reorder(points, turned)
        return turned


def convolve(b: Builder, index: int, which: int, behind: Behind, f: Filtering) -> Backward:
    """Convolve bottom `which`; as `convolution.convolve`."""
    layer = cast("ConvolutionBase", b.net.layers[index])
    bottom, top, parameters = b.net.bottoms[index][which], behind.top, behind.parameters_of(b, layer)
    b.remark = f"Winograd F({f.tiling.tile}, {f.tiling.taps})"
    plain = f.forward(False)
    primitives = [f.forward(parameters.has_bias and point == ONE) for point in range(f.tiling.points)]
    bias = {Arg.BIAS: parameters.bias()} if parameters.has_bias else {}
    weights = f.weights(parameters, plain[Arg.WEIGHTS])
    source = b.data(bottom, f.blocked(f.spec.src))
    result = b.make(top, f.blocked(f.spec.dst))
    for chunk, made in zip(f.chunks(source, f.src), f.chunks(result, f.dst), strict=True):
        scattered = f.transform(chunk, f.tiling.scatter(), f.src, _SCATTERED)
        products = b.staging(f.matrix(f.rows, f.dst), _PRODUCTS)
        for point, primitive in enumerate(primitives):
            arguments = {
                Arg.SRC: f.point(scattered, primitive[Arg.SRC], point),
                Arg.WEIGHTS: f.point(weights, primitive[Arg.WEIGHTS], point),
                Arg.DST: f.point(products, primitive[Arg.DST], point),
            }
            b.call(primitive, arguments | bias)
        f.transform_back(products, f.tiling.gather(), made, f.dst, *behind.post_ops)

    def backward() -> None:
        learn = any(layer.param_propagate_down) and _Gradients(b, layer, f, plain)
        down = b.net.bottom_need_backward[index][which] and _Down(b, layer, f, plain)
        if not learn and not down:
            return
        diff = b.diff(top, f.blocked(f.spec.dst))
        again = f.chunks(b.data(bottom, f.blocked(f.spec.src)), f.src) if learn else None
        below = f.chunks(b.make_diff(bottom, f.blocked(f.spec.src)), f.src) if down else None
        for chunk in f.chunks(diff, f.dst):
            diffs = f.transform(chunk, f.tiling.gather().T, f.dst, _PRODUCTS)
            if learn and again is not None:
                learn.add(f.transform(next(again), f.tiling.scatter(), f.src, _SCATTERED), diffs)
            if down and below is not None:
                down.make(diffs, next(below))
        if learn:
            learn.finish()

    return backward


class _Gradients:
    """The gradients of weights and bias, summed over the chunks."""

    def __init__(self, b: Builder, layer: ConvolutionBase, f: Filtering, hint: Primitive) -> None:
        self.b, self.f = b, f
        self.learns = layer.param_propagate_down
        desc = MemoryDesc.tagged(f.along.weights, DataType.f32, f.base)
        biased = layer.bias is not None and self.learns[1]
        self.primitives = [
            conv.backward_weights(
                b.device,
                replace(f.along, bias=biased and point == ONE),
                f.forward(True) if biased and point == ONE else hint,
                src=hint[Arg.SRC],
                diff_dst=hint[Arg.DST],
                diff_weights=desc,
                layer=layer.name,
            )
            for point in range(f.tiling.points)
        ]
        self.made = b.staging(f.stack(f.tiling.points, f.base), _WEIGHTS)
        self.total, self.add_weights = b.weight_diff(layer.weight, f.stack(f.spec.kernel[0], f.base), f.host)
        self.bias: list[Memory] = []  # of each chunk
        self.layer_bias = layer.bias if biased else None
        self.later: Sequence[PostOp] = ()

    def add(self, scattered: Memory, diffs: Memory) -> None:
        b, f = self.b, self.f
        for point, primitive in enumerate(self.primitives):
            arguments = {
                Arg.SRC: f.point(scattered, primitive[Arg.SRC], point),
                Arg.DIFF_DST: f.point(diffs, primitive[Arg.DIFF_DST], point),
                Arg.DIFF_WEIGHTS: f.point(self.made, primitive[Arg.DIFF_WEIGHTS], point),
            }
            if Arg.DIFF_BIAS in primitive.outputs:
                self.bias.append(Memory(b.device, primitive[Arg.DIFF_BIAS]))
                arguments[Arg.DIFF_BIAS] = self.bias[-1]
            b.call(primitive, arguments)
        if self.learns[0]:
            b.run(f.product(f.tiling.weights().T, f.flat(self.made), f.flat(self.total), *self.later))
            self.later = [SumPost()]

    def finish(self) -> None:
        b = self.b
        if self.learns[0]:
            self.add_weights()
        if self.layer_bias is not None:
            desc = self.bias[0].desc
            target, add_bias = b.weight_diff(self.layer_bias, desc, desc)
            primitive, sources = combine.sum_of(b.device, [desc] * len(self.bias), layer=self.f.name)
            b.call(primitive, dict(zip(sources, self.bias, strict=True)) | {Arg.DST: target})
            add_bias()


class _Down:
    """The gradient of the bottom."""

    def __init__(self, b: Builder, layer: ConvolutionBase, f: Filtering, hint: Primitive) -> None:
        self.b, self.f = b, f
        self.primitive = conv.backward_data(
            b.device, f.along, hint, diff_dst=hint[Arg.DST], diff_src=hint[Arg.SRC], layer=layer.name
        )
        self.parameters = Behind(layer.weight).parameters_of(b, layer)
        self._weights: Memory | None = None

    def make(self, diffs: Memory, chunk: Memory) -> None:
        b, f, primitive = self.b, self.f, self.primitive
        if self._weights is None:
            self._weights = f.weights(self.parameters, primitive[Arg.WEIGHTS])
        scattered = b.staging(f.matrix(f.rows, f.src), _SCATTERED)
        for point in range(f.tiling.points):
            arguments = {
                Arg.DIFF_DST: f.point(diffs, primitive[Arg.DIFF_DST], point),
                Arg.WEIGHTS: f.point(self._weights, primitive[Arg.WEIGHTS], point),
                Arg.DIFF_SRC: f.point(scattered, primitive[Arg.DIFF_SRC], point),
            }
            b.call(primitive, arguments)
        f.transform_back(scattered, f.tiling.scatter().T, chunk, f.src)


def _tag_of(desc: MemoryDesc) -> Tag | None:
    """Which of the known layouts of one point's weights this is."""
    for tag in STACKS:
        if desc == MemoryDesc.tagged(desc.dims, desc.dtype, tag):
            return tag
    return None
