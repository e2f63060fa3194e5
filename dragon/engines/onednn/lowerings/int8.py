"""In int8: convolutions and inner products, and the layers between two of them that leave integers as they are.

A layer reads integers rounded for its range. The one before it writes them itself where all readers want the same
ones, also through maximum poolings and concatenations, which commute with rounding. All other values are float32.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np

from dragon.engines.int8.arithmetic import WEIGHT_LEVELS, Range, quantize_weights
from dragon.engines.onednn.kernels import combine, pooling
from dragon.engines.onednn.kernels.pooling import PoolSpec
from dragon.engines.onednn.kernels.weighted import WeightedSpec, forward_int8
from dragon.engines.onednn.library.constants import Arg, DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.lowerings.bounds import is_positive, set_bound
from dragon.engines.onednn.lowerings.parameters import Epilogue, Parameters, operand_arguments
from dragon.engines.onednn.plan.builder import Backward, Builder
from dragon.engines.onednn.plan.reference import is_free
from dragon.engines.onednn.plan.values import int8_type, logical, reorder
from dragon.layers.pooling import Pooling
from dragon.proto import dragon_pb2 as pb

if TYPE_CHECKING:
    from dragon.bases.weighted import Weighted
    from dragon.graph.node import Node
    from dragon.memory.blob import Blob
    from dragon.memory.storage import Array

__all__ = ["concat", "multiply", "pool", "wanted"]

# without VNNI two products are added in 16 bits: 2 * 255 * 63 fits there
LEVELS_WITHOUT_VNNI = 63


def multiply(
    b: Builder, node: Node, bottom: Blob, epilogue: Epilogue, spec: WeightedSpec, host: MemoryDesc
) -> Backward:
    """Build a product in int8, whose primitive computes the layers of `epilogue` as well; there is no backward.

    host: describes the row-major weights, as int8.
    """
    layer, top, of = cast("Weighted", node.layer), epilogue.top, b.ranges[node.name]
    parameters = epilogue.parameters_of(b, layer)
    result = _result(b, spec, epilogue)
    dtype = DataType.f32 if result is None else int8_type(result)
    flat = len(spec.dst) == 2  # an inner product, whose rows lie as the host has them
    layout = MemoryDesc.plain if flat else MemoryDesc.any
    src, dst = layout(spec.src, int8_type(of)), layout(spec.dst, dtype)
    primitive = forward_int8(b.device, spec, src=src, dst=dst, post_ops=epilogue.post_ops, layer=node.name)
    weights, scales = _weights(b, parameters, layer, primitive[Arg.WEIGHTS], host)
    arguments = {
        Arg.SRC: b.int8(bottom, of, primitive[Arg.SRC]),
        Arg.WEIGHTS: weights,
        Arg.runtime_scale(Arg.SRC): _scale(b, of),
        Arg.runtime_scale(Arg.WEIGHTS): scales,
        **operand_arguments(b, primitive, epilogue),
    }
    if parameters.has_bias:
        arguments[Arg.BIAS] = parameters.bias()
    made = primitive[Arg.DST]
    if result is not None:
        arguments[Arg.runtime_scale(Arg.DST)] = _scale(b, result)
        arguments[Arg.DST] = b.make_int8(top, made, result)
    elif top.shape == spec.dst:
        arguments[Arg.DST] = b.make(top, made)
    else:
        arguments[Arg.DST] = b.make(top, MemoryDesc.plain(logical(top.shape))).view(made)
    with b.guarded_by(epilogue.bound):
        b.call(primitive, arguments)
    if result is None:
        set_bound(b, epilogue)
    b.remark = "int8" if result is None else "int8 to int8"
    return lambda: None


def _scale(b: Builder, of: Range) -> Memory:
    return Memory.wrap(b.device, np.full(1, of.scale, np.float32))


def _weights(
    b: Builder, parameters: Parameters, layer: Weighted, desc: MemoryDesc, host: MemoryDesc
) -> tuple[Memory, Memory]:
    """The weights as integers, in the layout `desc`, and the scale of each output, made again when they change."""
    shape, axis = layer.weight.shape, layer.output_axis
    memory, staged = Memory(b.device, desc), b.scratch(host)
    scales: Array = np.empty(shape[axis], np.float32)
    convert = reorder(b.device, staged, memory)
    levels = WEIGHT_LEVELS if b.device.has_vnni else LEVELS_WITHOUT_VNNI

    def refresh() -> None:
        integers, scales[...] = quantize_weights(parameters.row_major(), axis, levels)
        staged.buffer.view(np.int8)[: integers.size] = integers.reshape(-1)
        convert()

    b.when_changed(parameters.all_blobs, refresh)
    return memory, Memory.wrap(b.device, scales)


def pool(b: Builder, node: Node, spec: PoolSpec, of: Range) -> None:
    """Build a maximum pooling of integers."""
    bottom, top, dtype = node.bottoms[0], node.tops[0], int8_type(of)
    source = b.int8(bottom, of)
    primitive = pooling.forward(
        b.device, replace(spec, dtype=dtype), src=source.desc, dst=MemoryDesc.any(spec.dst, dtype), training=False,
        layer=node.name,
    )  # fmt: skip
    b.call(primitive, {Arg.SRC: source, Arg.DST: b.make_int8(top, primitive[Arg.DST], of)})
    b.remark = "int8"


def concat(b: Builder, node: Node, axis: int) -> bool:
    """Build a concatenation of integers; False where not all bottoms are integers of one range."""
    ranges = {b.range_of(bottom) for bottom in node.bottoms}
    of = ranges.pop()
    if ranges or of is None:
        return False
    parts = [b.int8(bottom, of) for bottom in node.bottoms]
    whole = combine.concat(b.device, [part.desc for part in parts], axis, layer=node.name)
    memories = {Arg.MULTIPLE_SRC + i: part for i, part in enumerate(parts)}
    b.call(whole, memories | {Arg.DST: b.make_int8(node.tops[0], whole[Arg.DST], of)})
    b.remark = "int8"
    return True


# -- which values stay in int8 --------------------------------------------------------------------------------
def _result(b: Builder, spec: WeightedSpec, epilogue: Epilogue) -> Range | None:
    """The range that the top of a product is rounded for; None where it is float32."""
    top = epilogue.top
    of = wanted(b, b.last, top) if top.shape == spec.dst else None
    if of is None or of.signed or is_positive(epilogue.post_ops):
        return of
    return None  # blobs would lack the negative values that a ReLU further on takes away


def wanted(b: Builder, writer: int, blob: Blob) -> Range | None:
    """The range for which all readers of what layer `writer` leaves in a blob want it rounded; None without such."""
    if not b.ahead or not b.ranges:
        return None
    net, storage = b.net, blob.data_storage
    if any(net.blobs[name].data_storage is storage for name in net.outputs):
        return None
    found: Range | None = None
    for node in net.nodes[writer + 1 :]:
        if not any(bottom.data_storage is storage for bottom in node.bottoms) or is_free(node):
            continue
        of = _wanted_by(b, node)
        if of is None or found not in (None, of):
            return None
        found = of
        if any(top.data_storage is storage for top in node.tops):
            break
    return found


def _wanted_by(b: Builder, node: Node) -> Range | None:
    """The range for which a layer wants its bottoms rounded."""
    layer = node.layer
    if node.name in b.ranges:
        return b.ranges[node.name]
    maximum = isinstance(layer, Pooling) and layer.method == pb.PoolingParameter.MAX and len(node.tops) == 1
    joined = layer.type == "Concat" and node.tops[0].ndim == 4
    return wanted(b, node.index, node.tops[0]) if maximum or joined else None
