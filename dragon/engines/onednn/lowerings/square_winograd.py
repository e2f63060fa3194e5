"""In TEST: convolution by Winograd's minimal filtering along height and width at once.

Data lie channels last. For each strip of rows of tiles (`square_tiles.py`):

    heights     [h][w, c] -> [p, t][w, c]             one product of matrices
    widths      [p, t][w][c] -> [p, t][u, q][c]       one for each row
    products    [p][t, u][q, c] -> [p][t, u][q, k]    for each p a 1 x 1 convolution with a group for each q
    widths      [p, t][u, q][k] -> [p, t][w][k]       one for some tiles at a time
    heights     [p, t][w, k] -> [h][w, k]             one product, with the neuron as post-operation

p and q are points of the height and of the width, t and u tiles, c and k channels of bottom and top.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from dragon.engines.onednn.kernels import combine
from dragon.engines.onednn.kernels import convolution as conv
from dragon.engines.onednn.kernels.matmul import matmul
from dragon.engines.onednn.kernels.winograd import ONE, Tiling
from dragon.engines.onednn.library.constants import Arg
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import EltwisePost, PostOp, Primitive, SumPost
from dragon.engines.onednn.lowerings.filtering import Slot, constant
from dragon.engines.onednn.lowerings.parameters import Epilogue, Parameters
from dragon.engines.onednn.lowerings.square_tiles import POINTS, SquareTiles, Strip, square_tiles
from dragon.engines.onednn.plan.builder import Builder
from dragon.engines.onednn.plan.values import reorder
from dragon.memory.blob import Blob

__all__ = ["convolve_in_tiles"]


def convolve_in_tiles(
    b: Builder, spec: conv.ConvSpec, bottom: Blob, epilogue: Epilogue, parameters: Parameters, name: str
) -> bool:
    """Build a convolution in tiles; False, and nothing built, where the direct sum is faster or the only way."""
    sums = len(epilogue.operands)
    neurons = epilogue.post_ops[sums:]
    if b.training or not b.winograd or not all(isinstance(post, EltwisePost) for post in neurons):
        return False
    if sums > 1 or any(operand.shape != spec.dst for operand in epilogue.operands):
        return False
    tiles = square_tiles(b.device, spec)
    if tiles is None or (sums and tiles.overlaps):
        return False
    b.remark = f"Winograd {tiles.name}"
    dst = MemoryDesc.channels_last(spec.dst)
    source = b.data(bottom, MemoryDesc.channels_last(spec.src))
    steps = _Steps(b, tiles, parameters, name)
    if not sums:
        steps.run(source, b.make(epilogue.top, dst), neurons)
    elif epilogue.into is not None and epilogue.into.desc == dst:
        first = steps.run(source, b.make(epilogue.top, dst, epilogue.into), [SumPost(), *neurons])
        b.replace(epilogue.operands[0], first)
    else:
        operand = b.data(epilogue.operands[0])
        made = b.make(epilogue.top, dst)
        b.run(reorder(b.device, operand, made))
        steps.run(source, made, [SumPost(), *neurons])
    return True


class _Steps:
    """The steps of one convolution, of which each image and each strip takes the same primitives."""

    def __init__(self, b: Builder, tiles: SquareTiles, parameters: Parameters, name: str) -> None:
        self._b, self._tiles, self._name = b, tiles, name
        self._high, self._wide, self._across = tiles.high, tiles.wide, tiles.across
        self._point = self._products_of_point(parameters.has_bias)
        self._weights = self._transformed(parameters)
        self._bias = self._biases(parameters) if parameters.has_bias else [{}] * POINTS
        self._made: dict[object, tuple[Memory, Primitive]] = {}

    def run(self, source: Memory, result: Memory, post_ops: Sequence[PostOp]) -> int:
        """Append all steps; the index of the first that writes into `result`. source, result: channels last."""
        first = -1
        (images, c, h, w), (_, k, out_h, out_w) = self._tiles.spec.src, self._tiles.spec.dst
        for image in range(images):
            for strip in self._high:
                tiling = strip.tiling
                below = _rows(source, image * h + strip.source, tiling.size, w * c)
                above = _rows(result, image * out_h + strip.target, tiling.outputs, out_w * k)
                high = self._b.scratch(MemoryDesc.plain((POINTS * tiling.tiles, w * c)), Slot.rows)
                self._multiply(tiling.scatter(), below, high)
                back = self._back(self._products(self._widths(high, strip)), strip)
                self._multiply(tiling.gather(), back, above, post_ops)
                if first < 0:
                    first = len(self._b.steps.calls) - 1
        return first

    # -- data -----------------------------------------------------------------------------------------------
    def _widths(self, high: Memory, strip: Strip) -> Memory:
        """The points of the width of all rows."""
        b, (_, c, _, w), rows = self._b, self._tiles.spec.src, POINTS * strip.tiling.tiles
        taken, made = (MemoryDesc.plain((rows, count, c)) for count in (w, self._across * POINTS))
        scattered = b.scratch(made, Slot.scattered)
        for part in self._wide:
            tiling = part.tiling
            source = taken.submemory((rows, tiling.size, c), (0, part.source, 0))
            target = made.submemory((rows, tiling.tiles * POINTS, c), (0, part.first * POINTS, 0))
            matrix = _by_tiles(tiling.scatter(), tiling.tiles)
            self._multiply(matrix[None], b.part(high, source), b.part(scattered, target))
        return scattered

    def _products(self, scattered: Memory) -> Memory:
        """The products of all points of the height, one after the other."""
        b, src, dst = self._b, self._point[Arg.SRC], self._point[Arg.DST]
        made = b.scratch(MemoryDesc.plain((POINTS, dst.size // 4)), Slot.products)
        for p, (weights, bias) in enumerate(zip(self._weights, self._bias, strict=True)):
            source, target = b.part(scattered, src, p * src.size), b.part(made, dst, p * dst.size)
            b.call(self._point, {Arg.SRC: source, Arg.WEIGHTS: weights, Arg.DST: target} | bias)
        return made

    def _back(self, products: Memory, strip: Strip) -> Memory:
        """The widths of all rows of products, without those beyond the top's."""
        b, k, tile, some = self._b, self._tiles.spec.dst[1], self._wide[0].tiling.tile, self._tiles.together
        rows = POINTS * strip.tiling.tiles
        filled = MemoryDesc.plain((rows, self._across * tile * k))
        back = b.scratch(filled, Slot.rows)
        taken, made = (MemoryDesc.plain((rows * self._across // some, some * of, k)) for of in (POINTS, tile))
        matrix = Tiling(0, 0, self._tiles.spec.kernel[1], some * tile, tile).gather()
        self._multiply(_by_tiles(matrix.T, some).T[None], b.part(products, taken), b.part(back, made))
        return b.part(back, filled.submemory((rows, self._tiles.spec.dst[3] * k), (0, 0)))

    def _multiply(
        self, matrix: NDArray[np.float64], source: Memory, target: Memory, post_ops: Sequence[PostOp] = ()
    ) -> None:
        """Append target = matrix source."""
        key = matrix.tobytes(), source.desc, target.desc, tuple(post_ops)
        if key not in self._made:
            left = constant(self._b.device, matrix)
            product = matmul(self._b.device, left.desc, source.desc, target.desc, post_ops=post_ops, layer=self._name)
            self._made[key] = left, product
        left, product = self._made[key]
        self._b.call(product, {Arg.SRC: left, Arg.WEIGHTS: source, Arg.DST: target})

    def _products_of_point(self, bias: bool) -> Primitive:
        """The products of one point of the height for a strip: a group for each point of the width."""
        spec, shape = self._tiles.spec, (self._high[0].tiling.tiles, self._across)
        point = conv.ConvSpec(
            src=(1, POINTS * spec.src[1], *shape),
            dst=(1, POINTS * spec.dst[1], *shape),
            kernel=(1, 1),
            stride=(1, 1),
            pad=(0, 0),
            dilation=(1, 1),
            groups=POINTS,
            bias=bias,
        )
        src, dst = MemoryDesc.channels_last(point.src), MemoryDesc.channels_last(point.dst)
        return conv.forward(self._b.device, point, src=src, dst=dst, training=False, layer=self._name)

    # -- parameters -----------------------------------------------------------------------------------------
    def _transformed(self, parameters: Parameters) -> list[Memory]:
        """The transformed weights of each point of the height, computed when the weights have changed."""
        b, spec, wanted = self._b, self._tiles.spec, self._point[Arg.WEIGHTS]
        taps, size = prod(spec.kernel), spec.src[1] * spec.dst[1]
        source = b.scratch(MemoryDesc.plain((taps, size), strides=(1, taps)), Slot.reordered_weights)
        high, wide = (strips[0].tiling.weights() for strips in (self._high, self._wide))
        made = b.scratch(MemoryDesc.plain((POINTS, size)), Slot.weights)
        blob = MemoryDesc.plain((POINTS, spec.dst[1], spec.src[1], 1, 1))
        product = matmul(b.device, MemoryDesc.plain((POINTS, taps)), source.desc, made.desc, layer=self._name)
        arrange = combine.reorder(b.device, blob, wanted, layer=self._name)
        found, steps = [], []
        for row in high:
            left, target = constant(b.device, np.kron(row[None], wide)), Memory(b.device, wanted)
            steps.append(b.prepared(product, {Arg.SRC: left, Arg.WEIGHTS: source, Arg.DST: made}))
            steps.append(b.prepared(arrange, {Arg.SRC: b.part(made, blob), Arg.DST: target}))
            found.append(target)

        def refresh() -> None:
            parameters.row_major(source.buffer.view(np.float32)[: taps * size])
            for step in steps:
                step()

        b.when_changed(parameters.all_blobs, refresh)
        return found

    def _biases(self, parameters: Parameters) -> list[dict[int, Memory]]:
        """The bias of each point of the height: at the point 1 of both axes, whose products go into every output."""
        b, k = self._b, self._tiles.spec.dst[1]
        none, spread = (constant(b.device, np.zeros(POINTS * k)) for _ in range(2))
        source, target = parameters.bias(), spread.view(MemoryDesc.plain((k,)), 4 * ONE * k)
        b.when_changed(parameters.all_blobs, reorder(b.device, source, target))
        return [{Arg.BIAS: spread if point == ONE else none} for point in range(POINTS)]


def _rows(memory: Memory, first: int, count: int, row: int) -> Memory:
    """Rows of a map. row: the elements of one."""
    return memory.view(MemoryDesc.plain((count, row)), 4 * first * row)


def _by_tiles(matrix: NDArray[np.float64], tiles: int) -> NDArray[np.float64]:
    """A matrix whose rows are ordered (point, tile) with its rows ordered (tile, point)."""
    rows, columns = matrix.shape
    return matrix.reshape(rows // tiles, tiles, columns).swapaxes(0, 1).reshape(rows, columns)
