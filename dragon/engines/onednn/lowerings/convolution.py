"""Convolution and Deconvolution."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, cast

from dragon.engines.onednn.kernels import convolution as conv
from dragon.engines.onednn.library.constants import Arg, DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.primitive import EltwisePost, Primitive
from dragon.engines.onednn.lowerings import int8, lowers, winograd
from dragon.engines.onednn.lowerings.bounds import carried, set_bound
from dragon.engines.onednn.lowerings.images_last import Order, Pass, is_faster, takes_rows
from dragon.engines.onednn.lowerings.merged_groups import convolve_merged
from dragon.engines.onednn.lowerings.parameters import Epilogue, Parameters, add_gradients, forward_arguments
from dragon.engines.onednn.lowerings.row_products import add_row_products
from dragon.engines.onednn.lowerings.square_winograd import convolve_in_tiles
from dragon.engines.onednn.plan.block_choice import FEW, filled
from dragon.engines.onednn.plan.builder import Backward, Builder, NotLoweredError
from dragon.engines.onednn.plan.places import blocks
from dragon.graph.node import Node
from dragon.layers.pooling import Pooling

if TYPE_CHECKING:
    from dragon.bases.convolution import ConvolutionBase
    from dragon.memory.blob import Blob

__all__ = ["convolution", "convolve", "spec_of"]


def spec_of(b: Builder, layer: ConvolutionBase, bottom: Blob, top: Blob) -> conv.ConvSpec:
    """The geometry; NotLoweredError for axes that oneDNN does not know."""
    window = layer.window
    if layer.bottom_view != bottom.shape or not 1 <= len(window.kernel) <= 3:
        raise NotLoweredError("axes other than (N, C, 1 to 3 spatial)")
    return conv.ConvSpec(
        src=bottom.shape,
        dst=top.shape,
        kernel=window.kernel,
        stride=window.stride,
        pad=window.before,
        dilation=window.dilation,
        groups=layer.group,
        bias=layer.bias is not None,
        transposed=layer.type == "Deconvolution",
        dtype=b.dtype,
    )


FILLED = 16  # channels that the library fills up to, where it takes blocks (with AVX-512)


@lowers("Convolution", "Deconvolution", "DepthwiseConvolution")
def convolution(b: Builder, node: Node) -> Backward | None:
    """Build a convolution: each bottom gives one top, by the same weights."""
    bottoms, tops = node.bottoms, node.tops
    backwards = [convolve(b, node, i, Epilogue(tops[i])) for i in range(len(bottoms))]

    def backward() -> None:
        for build in reversed(backwards):
            build()

    return backward


def convolve(b: Builder, node: Node, which: int, epilogue: Epilogue, spec: conv.ConvSpec | None = None) -> Backward:
    """Build the convolution of bottom `which`, whose primitive computes the layers of `epilogue` as well.

    spec: its geometry where it is not the layer's.
    """
    layer = cast("ConvolutionBase", node.layer)
    parameters = epilogue.parameters_of(b, layer)
    spec = spec or spec_of(b, layer, node.bottoms[which], node.tops[which])
    spec = replace(spec, bias=parameters.has_bias)
    epilogue = _with_bound(b, node, which, epilogue, parameters)
    if node.name in b.ranges:
        return int8.multiply(b, node, node.bottoms[which], epilogue, spec, spec.host_weights(DataType.s8))
    with b.guarded_by(epilogue.bound):
        backward = _convolve(b, node, which, epilogue, spec)
    set_bound(b, epilogue)
    return backward


def _with_bound(b: Builder, node: Node, which: int, epilogue: Epilogue, parameters: Parameters) -> Epilogue:
    """The epilogue with a bound of the top, where a layer behind it needs one."""
    of = b.ranges.get(node.name)
    pooled = any(isinstance(reader.layer, Pooling) for reader in b.readers.get(epilogue.top, ()))
    return replace(epilogue, bound=carried(b, node.bottoms[which], epilogue, parameters, pooled, of))


def _convolve(b: Builder, node: Node, which: int, epilogue: Epilogue, spec: conv.ConvSpec) -> Backward:
    layer = cast("ConvolutionBase", node.layer)
    bottom, top, parameters = node.bottoms[which], epilogue.top, epilogue.parameters_of(b, layer)
    if convolve_in_tiles(b, spec, bottom, epilogue, parameters, layer.name):
        return _nothing
    fast = winograd.filtering(b, spec, epilogue.post_ops, layer.name)
    if fast is not None:
        return winograd.convolve(b, node, which, epilogue, fast)
    image, dst = _layouts(b, spec, bottom)
    forward = partial(conv.forward, b.device, spec, training=b.training, layer=layer.name)
    make = partial(_fast, forward, {"src": image, "dst": dst})
    primitive = make(post_ops=epilogue.post_ops)
    if epilogue.into is not None and epilogue.into.desc != primitive[Arg.DST]:
        epilogue = epilogue.beside(MemoryDesc.any(top.shape, b.dtype))
        primitive = make(post_ops=epilogue.post_ops)
    if convolve_merged(b, spec, primitive, bottom, epilogue, parameters, layer.name):
        return _nothing
    orders = _orders(b, spec, epilogue)
    blob_src, blob_dst = primitive[Arg.SRC], primitive[Arg.DST]

    @cache
    def forward_in(order: Order) -> Primitive:
        """The primitive of forward, which those of backward refer to."""
        if not order.last:
            return primitive
        ordered, post_ops = order.ordered, epilogue.post_ops
        return conv.forward(b.device, ordered, training=b.training, post_ops=post_ops, layer=layer.name)

    order = orders[Pass.top]
    run = forward_in(order)
    host = order.ordered.host_weights()
    arguments = forward_arguments(b, run, order.read(partial(b.data, bottom))(run[Arg.SRC]), parameters, host, epilogue)
    made, finish = order.written(b, b.make(top, blob_dst, epilogue.into), run, Arg.DST)
    b.call(run, arguments | {Arg.DST: made})
    finish()
    if epilogue.into is not None:
        b.replace(epilogue.operands[0])

    def learn(order: Order) -> None:
        source, diff_of_top = partial(b.data, bottom), partial(b.diff, top)
        if order.last and takes_rows(spec, Pass.weights):
            weight = layer.weight if layer.param_propagate_down[0] else None
            bias = layer.bias if layer.bias is not None and layer.param_propagate_down[1] else None
            add_row_products(b, spec, weight, bias, source, diff_of_top)
            return
        src, diff = (None, None) if order.last else (image, dst)
        hint = forward_in(order)
        gradient = partial(conv.backward_weights, b.device, order.ordered, hint, layer=layer.name)
        grad = _fast(gradient, {"src": src, "diff_dst": diff})
        add_gradients(b, layer, grad, order.ordered.host_weights(), order.read(source), order.read(diff_of_top))

    def backward() -> None:
        if any(layer.param_propagate_down):
            learn(orders[Pass.weights])
        if node.propagate_down[which]:
            order = orders[Pass.bottom]
            diff = None if order.last else dst
            gradient = partial(conv.backward_data, b.device, order.ordered, forward_in(order), layer=layer.name)
            down = _fast(gradient, {"diff_dst": diff})
            diff_desc = blob_src if order.last else down[Arg.DIFF_SRC]
            made, finish = order.written(b, b.make_diff(bottom, diff_desc), down, Arg.DIFF_SRC)
            down_arguments = {
                Arg.DIFF_DST: order.read(partial(b.diff, top))(down[Arg.DIFF_DST]),
                Arg.WEIGHTS: b.weights(layer.weight, down[Arg.WEIGHTS], order.ordered.host_weights()),
                Arg.DIFF_SRC: made,
            }
            b.call(down, down_arguments)
            finish()

    return backward


def _fast(make: Callable[..., Primitive], layouts: Mapping[str, MemoryDesc | None], **settings: Any) -> Primitive:
    """A primitive for given layouts; for the library's own where those have the reference kernel only.

    As for a 1 x 1 convolution with padding, in blocks or with channels last: quirk "point with padding".
    """
    primitive = make(**layouts, **settings)
    if any(layouts.values()) and primitive.is_reference:
        return make(**settings)
    return primitive


def _nothing() -> None:
    """In TEST there is no backward."""


def _orders(b: Builder, spec: conv.ConvSpec, epilogue: Epilogue) -> dict[Pass, Order]:
    """The order of axes in which each pass runs; in TEST only the top is made."""
    # a top that adds to another blob is written where that lies
    plain = all(isinstance(post, EltwisePost) for post in epilogue.post_ops)
    made = set(Pass) if b.training else {Pass.top}
    orders = {each: Order(spec, plain and each in made and is_faster(b.device, spec, each)) for each in Pass}
    names = [each.name for each, order in orders.items() if order.last]
    if names:
        b.remark = f"images innermost for {', '.join(names)}"
    return orders


def _layouts(b: Builder, spec: conv.ConvSpec, bottom: Blob) -> tuple[MemoryDesc | None, MemoryDesc | None]:
    """Layouts of source and destination where the library's own choice was measured to be slower; None: its choice.

    In TEST that is blocks of channels, see `BlockChoice`.

    It fills channels up to blocks of 16, so 20 channels cost as much as 32; then channels-last is faster (quirk
    "channels fill blocks"). A source of few channels is fastest as the plain image that it is.
    """
    block = b.device.block
    kept = spec.groups > 1 and b.desc(bottom).is_channels_last  # a depthwise one is fast in that layout, too
    if b.blocks is not None and not kept and b.blocks.fits(spec):
        return blocks(spec.src, block), blocks(spec.dst, block)
    last = spec.groups == 1 and not spec.transposed and max(filled(c, FILLED) for c in (spec.dst[1], spec.src[1])) > 1.2
    dst = MemoryDesc.channels_last(spec.dst, spec.dtype) if last else None
    if spec.src[1] <= FEW and not last:
        present = b.desc(bottom)
        return present if present.is_row_major and present.dtype == spec.dtype else None, dst
    return MemoryDesc.channels_last(spec.src, spec.dtype) if last else None, dst
