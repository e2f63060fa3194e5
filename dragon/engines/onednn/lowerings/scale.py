"""Scale and Bias by themselves: a learned operand, or a second bottom, broadcast over the other axes."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np

from dragon.engines.onednn.kernels import batch_norm, combine
from dragon.engines.onednn.library.constants import Alg, Arg, DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc, Shape
from dragon.engines.onednn.library.layouts import like, same_bytes
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import BinaryPost, Primitive
from dragon.engines.onednn.lowerings import lowers
from dragon.engines.onednn.lowerings.bounds import may_measure, of_affine, pass_on
from dragon.engines.onednn.lowerings.channel_sums import Gradients, gradients_by_parts
from dragon.engines.onednn.plan.builder import Backward, Builder, NotLoweredError
from dragon.engines.onednn.plan.values import logical, reorder
from dragon.graph.node import Node
from dragon.memory.storage import Array

if TYPE_CHECKING:
    from dragon.layers.bias import Bias
    from dragon.layers.scale import Scale
    from dragon.memory.blob import Blob

__all__ = ["bias_layer", "kept_row_major", "learn", "scale_layer"]


def laid(bottom: Blob, operand: Blob, axis: int) -> Shape:
    """The operand's shape with 1 for each axis of the bottom that it is broadcast over."""
    if not 1 <= bottom.ndim <= 5:
        raise NotLoweredError("more axes than oneDNN knows here")
    if not operand.shape:
        return (1,) * bottom.ndim
    first = axis % bottom.ndim
    return (1,) * first + operand.shape + (1,) * (bottom.ndim - first - operand.ndim)


def kept_row_major(b: Builder, bottom: Blob, top: Blob) -> Memory:
    """The bottom's data, row-major, in memory that still holds it in backward if the top overwrites its storage."""
    plain = MemoryDesc.plain(logical(bottom.shape), b.desc(bottom).dtype)
    return b.kept_source(bottom, top) if b.desc(bottom) == plain else b.data(bottom, plain)


def _factors_and_shifts(layer: Scale) -> list[Array]:
    """The present values of a learned scale."""
    return [blob.peek() for blob in layer.blobs] + [np.zeros(1, np.float32)] * (2 - len(layer.blobs))


@lowers("Scale")
def scale_layer(b: Builder, node: Node) -> Backward | None:
    """Build Scale by itself."""
    layer = cast("Scale", node.layer)
    bottoms, top = node.bottoms, node.tops[0]
    bottom, scale, bias = bottoms[0], layer.scale_blob(bottoms), layer.bias_blob
    by_channel = layer.param.scale_param.axis in (1, 1 - bottom.ndim) and scale.shape == bottom.shape[1:2]
    if by_channel and len(bottoms) == 1 and 2 <= bottom.ndim <= 5 and bottom.count:
        return _channel_scale(b, node, layer, bottom, top)
    over = MemoryDesc.plain(laid(bottom, scale, layer.param.scale_param.axis))
    of_maps = len(bottoms) == 2 and bias is None and bottom.ndim > 2 and math.prod(over.dims[2:]) == 1
    if of_maps and not b.training:
        _scale_maps(b, bottom, scale, top, over, layer.name)
        return None
    x = kept_row_major(b, bottom, top)
    # where all spatial extents are 1 the sum is a call of its own: quirk "operand of a post-op"
    fused = bias is not None and math.prod(bottom.shape[2:]) > 1
    post = [BinaryPost(Alg.binary_add, over)] if fused else []
    primitive = combine.binary(b.device, Alg.binary_mul, x.desc, over, post_ops=post, layer=layer.name)
    memories = {Arg.SRC: x, Arg.SRC_1: _operand(b, bottoms, scale, over)}
    bounds = [b.value_of(blob).bound for blob in bottoms]
    shift = None if bias is None else b.host_vector(bias).view(over)
    if fused and shift is not None:
        memories[Arg.post_op(0)] = shift
    y = b.make(top, x.desc)
    b.call(primitive, memories | {Arg.DST: y})
    if shift is not None and not fused:
        add = combine.binary(b.device, Alg.binary_add, x.desc, over, layer=layer.name)
        b.call(add, {Arg.SRC: y, Arg.SRC_1: shift, Arg.DST: y})
    if b.ahead and len(bottoms) == 1:
        of_affine(b, bounds[0], top, layer.blobs, partial(_factors_and_shifts, layer))
    elif b.ahead and bias is None:
        pass_on(b, bounds, top, how=math.prod)
        may_measure(b, top)

    def backward() -> None:
        dy = b.diff(top, x.desc)
        if bias is not None and layer.param_propagate_down[-1]:
            learn(b, layer.name, dy, bias, over)
        two = len(bottoms) > 1
        if node.propagate_down[1] if two else layer.param_propagate_down[0]:
            product = Memory(b.device, x.desc)
            times = combine.binary(b.device, Alg.binary_mul, x.desc, x.desc, layer=layer.name)
            b.call(times, {Arg.SRC: dy, Arg.SRC_1: b.source_again(bottom, x, top), Arg.DST: product})
            learn(b, layer.name, product, scale, over, two)
        if node.propagate_down[0]:
            down = combine.binary(b.device, Alg.binary_mul, x.desc, over, layer=layer.name)
            operand = _operand(b, bottoms, scale, over)
            b.call(down, {Arg.SRC: dy, Arg.SRC_1: operand, Arg.DST: b.make_diff(bottom, x.desc)})

    return backward


def _scale_maps(b: Builder, bottom: Blob, scale: Blob, top: Blob, over: MemoryDesc, name: str) -> None:
    """Multiply each map by a number of the second bottom, in the layout of the first one. In TEST alone."""
    bounds = [b.value_of(blob).bound for blob in (bottom, scale)]
    x = b.data(bottom)
    laid_out = like(x.desc, over.dims, x.desc.dtype)  # quirk "operand of a blocked tensor"
    plain = MemoryDesc.plain(over.dims, b.desc(scale).dtype)
    factor = b.data(scale, MemoryDesc.plain(logical(scale.shape), plain.dtype)).view(plain)
    if same_bytes(plain, laid_out):
        factor = factor.view(laid_out)
    elif plain != laid_out:
        target = Memory(b.device, laid_out)
        b.run(reorder(b.device, factor, target))
        factor = target
    times = combine.binary(b.device, Alg.binary_mul, x.desc, laid_out, layer=name)
    reuse = top.data_storage is bottom.data_storage and b.owns(bottom)
    b.call(times, {Arg.SRC: x, Arg.SRC_1: factor, Arg.DST: b.make(top, x.desc, x if reuse else None)})
    pass_on(b, bounds, top, how=math.prod)
    may_measure(b, top)


def _by_normalisation(
    b: Builder, name: str, arguments: dict[int, Memory], training: bool
) -> tuple[batch_norm.NormSpec, Primitive]:
    """A normalisation by mean 0 and variance 1, which scales and shifts channels as far as `arguments` has vectors.

    Mean and variance are added to the arguments.
    """
    x = arguments[Arg.SRC].desc
    # 1 + 1e-12 is 1; without it the channels that pad a block, where the variance is 0, would become NaN
    spec = batch_norm.NormSpec(1e-12, True, Arg.SCALE in arguments, Arg.SHIFT in arguments)
    primitive = batch_norm.forward(b.device, spec, x, training=training, layer=name)
    vector = MemoryDesc.plain((x.dims[1],))
    arguments[Arg.MEAN], arguments[Arg.VARIANCE] = Memory(b.device, vector), Memory(b.device, vector)
    arguments[Arg.VARIANCE].numpy()[...] = 1
    return spec, primitive


def _channel_scale(b: Builder, node: Node, layer: Scale, bottom: Blob, top: Blob) -> Backward:
    """One factor for each channel, as a normalisation by mean 0 and variance 1, whose kernels are fast in any layout.

    A product would be slow: quirk "operand of a blocked tensor".
    """
    scale, bias = layer.blobs[0], layer.bias_blob
    x = b.kept_source(bottom, top)
    arguments = {Arg.SRC: x, Arg.SCALE: b.host_vector(scale)}
    if bias is not None:
        arguments[Arg.SHIFT] = b.host_vector(bias)
    spec, primitive = _by_normalisation(b, layer.name, arguments, b.training)
    bound = b.value_of(bottom).bound
    b.call(primitive, arguments | {Arg.DST: b.make(top, primitive[Arg.DST])})
    if b.ahead:
        of_affine(b, bound, top, layer.blobs, partial(_factors_and_shifts, layer))
    vector = MemoryDesc.plain((scale.count,))

    def backward() -> None:
        wanted, learns = node.propagate_down[0], layer.param_propagate_down
        if not wanted and not any(learns):
            return
        if gradients_by_parts(x.desc):
            _backward_by_parts(b, node, layer, x)
            return
        down = batch_norm.backward(b.device, spec, primitive, layer=layer.name)  # quirk "frozen scale and shift"
        taken = {
            **arguments,
            Arg.SRC: b.source_again(bottom, x, top),
            Arg.DIFF_DST: b.diff(top, down[Arg.DIFF_DST]),
            Arg.SCALE: b.host_vector(scale),
        }
        adds = []
        for arg, blob, learned in zip((Arg.DIFF_SCALE, Arg.DIFF_SHIFT), layer.blobs, learns, strict=False):
            taken[arg], add = b.weight_diff(blob, vector, vector)
            if learned:
                adds.append(add)
        out = down[Arg.DIFF_SRC]
        taken[Arg.DIFF_SRC] = b.make_diff(bottom, out) if wanted else Memory(b.device, out)
        b.call(down, taken)
        for add in adds:
            add()

    return backward


def _backward_by_parts(b: Builder, node: Node, layer: Scale, x: Memory) -> None:
    """The gradients of one factor for each channel, with sums by parts. x: the bottom of forward."""
    bottom, top, scale = node.bottoms[0], node.tops[0], layer.blobs[0]
    source, dy = b.source_again(bottom, x, top), b.diff(top, x.desc)
    dx = b.make_diff(bottom, x.desc) if node.propagate_down[0] else b.scratch(x.desc)
    sums = Gradients(b, source, dy, dx, layer.name)
    vector = MemoryDesc.plain((scale.count,))
    learned = [(i, *b.weight_diff(blob, vector, vector)) for i, blob in enumerate(layer.blobs)]
    diffs = [(i, memory.numpy()) for i, memory, _ in learned]
    storage = scale.data_storage

    def after() -> None:
        dbias, dscale = sums.sums()
        for i, diff in diffs:
            diff[...] = (dscale, dbias)[i]

    b.run(lambda: sums.set(None, storage.read()[: scale.count]))
    sums.run()
    b.run(np.errstate(all="ignore")(after))  # of infinities
    for (_, _, add), wanted in zip(learned, layer.param_propagate_down, strict=False):
        if wanted:
            add()


@lowers("Bias")
def bias_layer(b: Builder, node: Node) -> Backward | None:
    """Build Bias."""
    layer = cast("Bias", node.layer)
    bottoms, top = node.bottoms, node.tops[0]
    bottom, bias = bottoms[0], layer.bias_blob(bottoms)
    over = MemoryDesc.plain(laid(bottom, bias, layer.param.bias_param.axis))
    by_channel = len(bottoms) == 1 and over.dims == (1, *bottom.shape[1:2], *(1,) * (bottom.ndim - 2))
    x = b.data(bottom, None if by_channel else MemoryDesc.plain(bottom.shape, b.desc(bottom).dtype))
    in_place = top is bottom and b.owns(bottom) and x is b.data(bottom)
    if by_channel and bottom.ndim >= 2 and x.desc.dtype == DataType.bf16:  # quirk "operand in float32"
        arguments = {Arg.SRC: x, Arg.SHIFT: b.host_vector(bias)}
        _, primitive = _by_normalisation(b, layer.name, arguments, training=False)
    else:
        # by channel in the layout of the bottom: quirk "operand of a blocked tensor"
        layout = like(x.desc, over.dims, over.dtype)
        operand = b.weights(bias, layout, over) if by_channel else _operand(b, bottoms, bias, over)
        primitive = combine.binary(b.device, Alg.binary_add, x.desc, operand.desc, layer=layer.name)
        arguments = {Arg.SRC: x, Arg.SRC_1: operand}
    bounds = [b.value_of(blob).bound for blob in bottoms]
    b.call(primitive, arguments | {Arg.DST: b.make(top, x.desc, x if in_place else None)})
    if b.ahead and len(bottoms) == 1:
        of_affine(b, bounds[0], top, [bias], lambda: [np.ones(1, np.float32), bias.peek()])
    elif b.ahead:
        pass_on(b, bounds, top, positive=False)

    def backward() -> None:
        two = len(bottoms) > 1
        if node.propagate_down[1] if two else layer.param_propagate_down[0]:
            learn(b, layer.name, b.diff(top), bias, over, two)
        if node.propagate_down[0] and top is not bottom:
            b.copy_diff(top, bottom)

    return backward


def _operand(b: Builder, bottoms: list[Blob], operand: Blob, over: MemoryDesc) -> Memory:
    """The operand's data in the shape of `over`."""
    if len(bottoms) > 1:
        return b.data(operand, MemoryDesc.plain(logical(operand.shape))).view(over)
    return b.host_vector(operand).view(over)


def learn(b: Builder, name: str, values: Memory, operand: Blob, over: MemoryDesc, replaces: bool = False) -> None:
    """Sum `values` over the repeated axes into the operand's diff, which is a bottom's if `replaces`."""
    if replaces:
        out, add = b.make_diff(operand, MemoryDesc.plain(logical(operand.shape))).view(over), None
    else:
        out, add = b.weight_diff(operand, over, over)
    _sum(b, name, values, over, out)
    if add is not None:
        add()


def _sum(b: Builder, name: str, values: Memory, over: MemoryDesc, out: Memory) -> None:
    """Sum over the axes where `over` has 1: first those after its own axes, then those before (quirk "reduction")."""
    dims = values.desc.dims
    if not values.desc.is_row_major:
        row_major = Memory(b.device, MemoryDesc.plain(dims, values.desc.dtype))
        b.run(reorder(b.device, values, row_major))
        values = row_major
    own = [i for i, extent in enumerate(over.dims) if extent > 1]
    last = own[-1] if own else -1
    inner_sum = MemoryDesc.plain((*dims[: last + 1], *over.dims[last + 1 :]))
    if own and inner_sum.dims not in (dims, over.dims):
        partial = Memory(b.device, inner_sum)
        inner = combine.reduction(b.device, Alg.reduction_sum, values.desc, inner_sum, layer=name)
        b.call(inner, {Arg.SRC: values, Arg.DST: partial})
        values = partial
    if values.desc.dims == over.dims:
        total = combine.reorder(b.device, values.desc, over, layer=name)
    else:
        total = combine.reduction(b.device, Alg.reduction_sum, values.desc, over, layer=name)
    b.call(total, {Arg.SRC: values, Arg.DST: out})
