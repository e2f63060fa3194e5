"""Convolution with fewer products: Winograd's minimal filtering along the height.

The height is transformed by matrices, and each of its points is a convolution along the width alone. In between data
lie as [height][channel block][width][image][channel], so that a transform is one product of matrices, and so that the
convolutions run over images as their innermost axis, however narrow the maps are. All of this happens for a few images
at a time, whose intermediate data stay in the cache. The gradients are the transposed formulas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from dragon.engines.onednn.kernels import combine
from dragon.engines.onednn.kernels import convolution as conv
from dragon.engines.onednn.kernels.winograd import ONE
from dragon.engines.onednn.library.constants import Arg, DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import PostOp, Primitive, SumPost
from dragon.engines.onednn.lowerings.filtering import Filtering, Slot, filtering
from dragon.engines.onednn.lowerings.parameters import Epilogue, Learned
from dragon.engines.onednn.plan.builder import Backward, Builder
from dragon.graph.node import Node

if TYPE_CHECKING:
    from dragon.bases.convolution import ConvolutionBase
    from dragon.memory.blob import Blob

__all__ = ["convolve", "filtering"]


FEW_OUTPUTS = 64  # with more, transforming again takes little time beside the products, and saves much memory


def convolve(b: Builder, node: Node, which: int, epilogue: Epilogue, f: Filtering) -> Backward:
    """Convolve bottom `which`; as `convolution.convolve`."""
    layer = cast("ConvolutionBase", node.layer)
    bottom, top, parameters = node.bottoms[which], epilogue.top, epilogue.parameters_of(b, layer)
    b.remark = f"Winograd F({f.tiling.tile}, {f.tiling.taps})"
    plain = f.forward(False)
    primitives = [plain] * f.tiling.points
    if parameters.has_bias:
        primitives[ONE] = f.forward(True)
    bias = {Arg.BIAS: parameters.bias()} if parameters.has_bias else {}
    weights = f.weights(parameters, plain[Arg.WEIGHTS])
    source = b.data(bottom, f.blocked(f.spec.src))
    bottoms = _Bottoms(b, f, bottom, any(layer.param_propagate_down))
    result = b.make(top, f.blocked(f.spec.dst))
    for chunk, made in zip(f.chunks(source, f.src), f.chunks(result, f.dst), strict=True):
        scattered = bottoms.forward(chunk)
        products = b.scratch(f.matrix(f.rows, f.dst), Slot.products)
        for point, primitive in enumerate(primitives):
            arguments = {
                Arg.SRC: f.point(scattered, primitive[Arg.SRC], point),
                Arg.WEIGHTS: f.point(weights, primitive[Arg.WEIGHTS], point),
                Arg.DST: f.point(products, primitive[Arg.DST], point),
            }
            b.call(primitive, arguments | bias)
        f.transform_back(products, f.tiling.gather(), made, f.dst, *epilogue.post_ops)

    def backward() -> None:
        learn = any(layer.param_propagate_down) and _Gradients(b, layer, f, plain)
        down = node.propagate_down[which] and _Down(b, layer, f, plain)
        if not learn and not down:
            return
        diff = b.diff(top, f.blocked(f.spec.dst))
        again = f.chunks(b.data(bottom, f.blocked(f.spec.src)), f.src) if learn else None
        below = f.chunks(b.make_diff(bottom, f.blocked(f.spec.src)), f.src) if down else None
        for i, chunk in enumerate(f.chunks(diff, f.dst)):
            diffs = f.transform(chunk, f.tiling.gather().T, f.dst, Slot.products)
            if learn and again is not None:
                learn.add(bottoms.again(i, next(again)), diffs)
            if down and below is not None:
                down.make(diffs, next(below))
        if learn:
            learn.finish()

    return backward


class _Bottoms:
    """The transformed bottom, chunk by chunk, which the gradient of the weights uses again."""

    def __init__(self, b: Builder, f: Filtering, bottom: Blob, learns: bool) -> None:
        self.b, self.f, self.bottom = b, f, bottom
        self.value = b.value_of(bottom)
        self.keeps = b.training and b.cache and learns and f.spec.dst[1] <= FEW_OUTPUTS
        self.kept: list[Memory] = []

    def forward(self, chunk: Memory) -> Memory:
        if not self.keeps:
            return self._transform(chunk)
        self.kept.append(Memory(self.b.device, self.f.matrix(self.f.rows, self.f.src)))
        calls = self.f.transforming(chunk, self.f.tiling.scatter(), self.f.src, self.kept[-1])
        self.b.steps.calls += calls
        self.value.refresh += calls  # for data that somebody changes before backward
        return self.kept[-1]

    def again(self, i: int, chunk: Memory) -> Memory:
        """A transformed chunk: what forward saved, unless the bottom has changed or this backward is built apart."""
        if self.kept and self.b.cache and self.b.value_of(self.bottom) is self.value:
            return self.kept[i]
        return self._transform(chunk)

    def _transform(self, chunk: Memory) -> Memory:
        return self.f.transform(chunk, self.f.tiling.scatter(), self.f.src, Slot.scattered)


class _Gradients:
    """The gradients of weights and bias, summed over the chunks."""

    def __init__(self, b: Builder, layer: ConvolutionBase, f: Filtering, hint: Primitive) -> None:
        self.b, self.f = b, f
        self.learns = layer.param_propagate_down
        biased = layer.bias is not None and self.learns[1]
        self.primitives = [self._primitive(hint, False)] * f.tiling.points
        if biased:
            self.primitives[ONE] = self._primitive(f.forward(True), True)
        self.made = b.scratch(f.stack(f.tiling.points, f.base), Slot.gradients)
        self.total, self.add_weights = b.weight_diff(layer.weight, f.stack(f.spec.kernel[0], f.base), f.host)
        self.bias: list[Memory] = []  # of each chunk
        self.layer_bias = layer.bias if biased else None
        self.later: Sequence[PostOp] = ()

    def _primitive(self, hint: Primitive, bias: bool) -> Primitive:
        f = self.f
        return conv.backward_weights(
            self.b.device,
            replace(f.point_spec, bias=bias),
            hint,
            src=hint[Arg.SRC],
            diff_dst=hint[Arg.DST],
            diff_weights=MemoryDesc.tagged(f.point_spec.weights, DataType.f32, f.base),
            layer=f.name,
        )

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
            b.device, f.point_spec, hint, diff_dst=hint[Arg.DST], diff_src=hint[Arg.SRC], layer=layer.name
        )
        self.weights = f.weights(Learned(b, layer.weight, layer.bias), self.primitive[Arg.WEIGHTS])

    def make(self, diffs: Memory, chunk: Memory) -> None:
        b, f, primitive = self.b, self.f, self.primitive
        scattered = b.scratch(f.matrix(f.rows, f.src), Slot.scattered)
        for point in range(f.tiling.points):
            arguments = {
                Arg.DIFF_DST: f.point(diffs, primitive[Arg.DIFF_DST], point),
                Arg.WEIGHTS: f.point(self.weights, primitive[Arg.WEIGHTS], point),
                Arg.DIFF_SRC: f.point(scattered, primitive[Arg.DIFF_SRC], point),
            }
            b.call(primitive, arguments)
        f.transform_back(scattered, f.tiling.scatter().T, chunk, f.src)
