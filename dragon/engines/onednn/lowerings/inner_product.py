"""InnerProduct: a blocked image is taken as it is, the weights follow its layout.

In training, where weights change in every step, the smaller of the two is converted: with fewer images than outputs the
weights stay as they are and the image becomes rows.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, cast

from dragon.engines.onednn.kernels import inner_product as ip
from dragon.engines.onednn.library.constants import Arg, DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.lowerings import int8, lowers
from dragon.engines.onednn.lowerings.added_products import add_column_sums, add_outer_products, as_fast
from dragon.engines.onednn.lowerings.bounds import carried, set_bound
from dragon.engines.onednn.lowerings.parameters import Epilogue, Parameters, add_gradients, forward_arguments
from dragon.engines.onednn.plan.builder import Backward, Builder, NotLoweredError
from dragon.engines.onednn.plan.values import logical
from dragon.graph.node import Node

if TYPE_CHECKING:
    from dragon.layers.inner_product import InnerProduct

__all__ = ["inner_product", "multiply"]


@lowers("InnerProduct")
def inner_product(b: Builder, node: Node) -> Backward | None:
    """Build an inner product by itself."""
    return multiply(b, node, Epilogue(node.tops[0]))


def multiply(b: Builder, node: Node, epilogue: Epilogue) -> Backward:
    """Build an inner product whose primitive computes the layers of `epilogue` as well."""
    layer = cast("InnerProduct", node.layer)
    top, parameters = epilogue.top, epilogue.parameters_of(b, layer)
    bottom = node.bottoms[0]
    outputs = top.shape[-1]
    plain = b.training and layer.rows < outputs
    pixels = bottom.ndim > 2 and not b.training and prod(bottom.shape[2:]) == 1  # whose bytes are a matrix
    # else rows are made of several axes, or there are fewer data than weights to convert in every step
    whole = layer.rows == bottom.shape[0] and 2 <= bottom.ndim <= 5 and top.ndim == 2 and not (plain or pixels)
    if not whole and bottom.ndim > 6:
        raise NotLoweredError("more axes than oneDNN knows here")
    if node.name in b.ranges:
        return _in_int8(b, node, epilogue, parameters)
    src = bottom.shape if whole else (layer.rows, layer.inputs)
    spec = ip.InnerProductSpec(src, outputs, parameters.has_bias, layer.transposed, b.dtype)
    rows = MemoryDesc.plain((layer.rows, outputs), b.dtype)

    def source(desc: MemoryDesc) -> Memory:
        if whole:
            return b.data(bottom, desc)
        return b.data(bottom, MemoryDesc.plain(logical(bottom.shape), b.dtype)).view(desc)

    def diff_of_top(desc: MemoryDesc) -> Memory:
        if whole:
            return b.diff(top, desc)
        return b.diff(top, MemoryDesc.plain(logical(top.shape), b.dtype)).view(desc)

    master = spec.host_weights(b.dtype) if plain else None
    present = b.desc(bottom) if whole else MemoryDesc.plain(src, b.dtype)
    primitive = ip.forward(
        b.device,
        spec,
        src=present if present.dtype == spec.dtype else None,
        weights=master,
        dst=None if whole else rows,
        training=b.training,
        post_ops=epilogue.post_ops,
        layer=layer.name,
    )
    host = spec.host_weights()
    arguments = forward_arguments(b, primitive, source(primitive[Arg.SRC]), parameters, host, epilogue)
    if whole:
        arguments[Arg.DST] = b.make(top, primitive[Arg.DST])
    else:
        arguments[Arg.DST] = b.make(top, MemoryDesc.plain(logical(top.shape), b.dtype)).view(rows)
    bound = carried(b, bottom, epilogue, parameters)
    with b.guarded_by(bound):
        b.call(primitive, arguments)
    set_bound(b, replace(epilogue, bound=bound))

    def backward() -> None:
        dst = None if whole else rows
        if any(layer.param_propagate_down):
            grad = ip.backward_weights(
                b.device,
                spec,
                primitive,
                src=None if whole else present,
                diff_dst=dst,
                diff_weights=host if plain else None,
                layer=layer.name,
            )
            if plain and b.dtype == DataType.f32 and as_fast(grad):
                _add_products(b, layer, source(MemoryDesc.plain(spec.src)), diff_of_top(rows))
            else:
                add_gradients(b, layer, grad, host, source, diff_of_top)
        if node.propagate_down[0]:
            down = ip.backward_data(
                b.device,
                spec,
                primitive,
                diff_dst=dst,
                weights=master,
                diff_src=None if whole else present,
                layer=layer.name,
            )
            weights = b.weights(layer.weight, down[Arg.WEIGHTS], host)
            dy = diff_of_top(down[Arg.DIFF_DST])
            if whole:
                dx = b.make_diff(bottom, down[Arg.DIFF_SRC])
            else:
                dx = b.make_diff(bottom, MemoryDesc.plain(logical(bottom.shape), b.dtype)).view(down[Arg.DIFF_SRC])
            b.call(down, {Arg.DIFF_DST: dy, Arg.WEIGHTS: weights, Arg.DIFF_SRC: dx})

    return backward


def _add_products(b: Builder, layer: InnerProduct, x: Memory, dy: Memory) -> None:
    """Add the gradients of an inner product of the rows x, with the gradient dy of its top."""
    learns = layer.param_propagate_down
    if learns[0]:
        add_outer_products(b, layer.weight, *((x, dy) if layer.transposed else (dy, x)))
    if layer.bias is not None and learns[1]:
        add_column_sums(b, layer.bias, dy)


def _in_int8(b: Builder, node: Node, epilogue: Epilogue, parameters: Parameters) -> Backward:
    layer = cast("InnerProduct", node.layer)
    bottom = node.bottoms[0]
    spec = ip.InnerProductSpec(
        (layer.rows, layer.inputs), epilogue.top.shape[-1], parameters.has_bias, layer.transposed
    )
    bound = carried(b, bottom, epilogue, parameters, of=b.ranges[node.name])
    return int8.multiply(b, node, bottom, replace(epilogue, bound=bound), spec, spec.host_weights(DataType.s8))
