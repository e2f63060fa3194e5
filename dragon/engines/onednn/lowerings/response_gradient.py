"""The gradient of LRN with Caffe's beta, 0.75, where oneDNN has the reference kernel: quirk "gradient of a response".

With s = k + alpha mean(x^2), the mean over the window with padding counted, and u = dy s^-beta:

    dx = u - 2 alpha beta x mean(u x / s)

Both means are average pooling: within a channel over the map, across channels over the height of a map with one row for
each channel and the pixels of the image as channels, channels last. Powers are roots and products, which keep NaN.
Images are taken a few at a time, as many as fit the cache.
"""

from __future__ import annotations

from math import prod

from dragon.engines.onednn.kernels import combine, eltwise, pooling
from dragon.engines.onednn.kernels.lrn import LrnSpec
from dragon.engines.onednn.library.constants import Alg, Arg
from dragon.engines.onednn.library.descriptor import MemoryDesc, Shape
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import BinaryPost, EltwisePost, PostOp, Primitive
from dragon.engines.onednn.lowerings.filtering import Slot
from dragon.engines.onednn.plan.builder import Builder
from dragon.engines.onednn.plan.values import reorder

__all__ = ["composes", "response_gradient"]

BETA = 0.75
CHUNK = 1 << 18  # elements of each intermediate result: 1 MB


def composes(spec: LrnSpec, library: Primitive) -> bool:
    """Whether the gradient is to be built from other primitives than `library`, oneDNN's own."""
    return spec.beta == BETA and library.is_reference


def response_gradient(b: Builder, spec: LrnSpec, x: Memory, dy: Memory, dx: Memory, layer: str) -> None:
    """Append the steps that compute dx from x and dy, (N, C, 1 to 3 spatial) in any layouts."""
    images, *rest = x.desc.dims
    at_once = min(images, max(1, CHUNK // prod(rest)))
    made: dict[int, _Images] = {}
    for first in range(0, images, at_once):
        count = min(at_once, images - first)
        if count not in made:
            made[count] = _Images(b, spec, (count, *rest), layer)
        made[count].run(x, dy, dx, first)


class _Images:
    """The steps for some images, in float32 and the layout in which pooling takes the mean."""

    def __init__(self, b: Builder, spec: LrnSpec, shape: Shape, layer: str) -> None:
        self._b, self._shape, self._layer = b, shape, layer
        n, c, *space = shape
        size, pixels = spec.size, prod(space)
        if spec.alg == Alg.lrn_across_channels:
            self._layout = MemoryDesc.plain(shape)
            view: Shape = (n, pixels, c, 1)
            self._desc = MemoryDesc.plain(view, strides=(c * pixels, 1, pixels, pixels))
            window: Shape = (size, 1)
        else:
            self._layout = self._desc = MemoryDesc.channels_last(shape)
            view, window = shape, (size,) * len(space)
        pad = tuple(extent // 2 for extent in window)
        ones = (1,) * len(window)
        self._pool = pooling.PoolSpec(view, view, window, ones, pad, Alg.pooling_avg_include_padding)
        factor = -2 * spec.alpha * spec.beta
        desc = self._desc
        root: list[PostOp] = [EltwisePost(Alg.eltwise_linear, spec.alpha, spec.k), EltwisePost(Alg.eltwise_sqrt)]
        rest: list[PostOp] = [
            EltwisePost(Alg.eltwise_linear, factor),
            BinaryPost(Alg.binary_mul, desc),
            BinaryPost(Alg.binary_add, desc),
        ]
        by_root = [BinaryPost(Alg.binary_div, desc)]
        self._square = eltwise.forward(b.device, Alg.eltwise_square, desc, training=False, layer=layer)
        self._root_of_mean = self._mean(root)
        self._root = eltwise.forward(b.device, Alg.eltwise_sqrt, desc, training=False, layer=layer)
        self._over_power = self._binary(Alg.binary_div, by_root)
        self._share = self._binary(Alg.binary_mul, by_root * 2)
        self._result = self._mean(rest)

    def run(self, x: Memory, dy: Memory, dx: Memory, first: int) -> None:
        """Append the steps for the images from `first` on."""
        b = self._b
        scaled, power = self._scratch(Slot.scattered), self._scratch(Slot.products)
        root = self._scratch(Slot.weights)
        source, diff = self._taken(x, first, Slot.rows), self._taken(dy, first, Slot.gradients)
        b.call(self._square, {Arg.SRC: source, Arg.DST: power})
        b.call(self._root_of_mean, {Arg.SRC: power, Arg.DST: root})  # s^.5
        b.call(self._root, {Arg.SRC: root, Arg.DST: power})  # s^.25
        b.call(self._over_power, {Arg.SRC: diff, Arg.SRC_1: power, Arg.DST: scaled, Arg.post_op(0): root})
        roots = {Arg.post_op(0): root, Arg.post_op(1): root}
        b.call(self._share, {Arg.SRC: scaled, Arg.SRC_1: source, Arg.DST: power} | roots)
        operands = {Arg.post_op(1): source, Arg.post_op(2): scaled}
        b.call(self._result, {Arg.SRC: power, Arg.DST: diff} | operands)
        self._put(diff, dx, first)

    def _mean(self, post_ops: list[PostOp]) -> Primitive:
        device, layer, desc = self._b.device, self._layer, self._desc
        return pooling.forward(device, self._pool, src=desc, dst=desc, training=False, post_ops=post_ops, layer=layer)

    def _binary(self, alg: Alg, post_ops: list[BinaryPost]) -> Primitive:
        return combine.binary(self._b.device, alg, self._desc, self._desc, post_ops=post_ops, layer=self._layer)

    def _scratch(self, slot: Slot) -> Memory:
        return self._b.scratch(self._desc, slot)

    def _part(self, desc: MemoryDesc, first: int) -> MemoryDesc:
        return desc.submemory(self._shape, (first, *(0 for _ in self._shape[1:])))

    def _taken(self, memory: Memory, first: int, slot: Slot) -> Memory:
        part, scratch = self._part(memory.desc, first), self._scratch(slot)
        self._copy(memory.view(part), self._b.part(scratch, self._layout))
        return scratch

    def _put(self, scratch: Memory, memory: Memory, first: int) -> None:
        self._copy(self._b.part(scratch, self._layout), memory.view(self._part(memory.desc, first)))

    def _copy(self, source: Memory, target: Memory) -> None:
        self._b.run(reorder(self._b.device, source, target))
