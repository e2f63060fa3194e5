"""In TEST: groups of few channels (4 in ResNeXt) several at a time, as one group whose channels fill a vector.

With AVX2 oneDNN unfolds images where the channels of a group do not fill blocks of 8: quirk "narrow groups". So
neighbouring groups become one, with weights of 0 between them: twice the products in half the time. As 0 times NaN is
NaN, it runs while a bound shows that the bottom is finite; else the groups by themselves do.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from dragon.counting import how_many
from dragon.engines.onednn.kernels import combine
from dragon.engines.onednn.kernels import convolution as conv
from dragon.engines.onednn.kernels.eltwise import LIMITS, keeping_nan
from dragon.engines.onednn.library.constants import Arg, DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import Call, EltwisePost, PostOp, Primitive
from dragon.engines.onednn.lowerings.parameters import Epilogue, Parameters
from dragon.engines.onednn.plan.builder import Builder
from dragon.engines.onednn.plan.guarded import fetch, store
from dragon.engines.onednn.plan.places import blocks
from dragon.engines.onednn.plan.values import reorder
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

__all__ = ["convolve_merged", "merged"]


def merged(spec: conv.ConvSpec, block: int) -> int:
    """How many groups to merge so that channels fill blocks; 1 where that is none, or all."""
    inputs, outputs = spec.src[1] // spec.groups, spec.dst[1] // spec.groups
    for together in range(2, spec.groups):
        fits = together * inputs % block == 0 and together * outputs % block == 0
        if fits and spec.groups % together == 0:
            return together if together * min(inputs, outputs) == block else 1
    return 1


def convolve_merged(
    b: Builder,
    spec: conv.ConvSpec,
    alone: Primitive,
    bottom: Blob,
    epilogue: Epilogue,
    parameters: Parameters,
    name: str,
) -> bool:
    """Build a convolution of merged groups; False, and nothing built, where it is not faster or cannot be.

    alone: the primitive of the groups by themselves.
    """
    if not b.ahead or spec.groups == 1 or spec.transposed or spec.dtype != DataType.f32 or epilogue.operands:
        return False
    bound = epilogue.bound or b.value_of(bottom).bound
    together = merged(spec, b.device.block)
    limited = any(isinstance(post, EltwisePost) and post.alg in LIMITS for post in epilogue.post_ops)
    if bound is None or together == 1 or limited or "gemm" not in alone.implementation:
        return False
    wide = replace(spec, groups=spec.groups // together)
    in_blocks = b.blocks is not None and b.blocks.of(spec.src[0]) and len(spec.kernel) == 2
    src, dst = (blocks(shape, b.device.block) if in_blocks else None for shape in (spec.src, spec.dst))
    primitive = conv.forward(b.device, wide, src=src, dst=dst, training=False, post_ops=epilogue.post_ops, layer=name)
    if "gemm" in primitive.implementation or primitive.is_reference:
        return False
    memories = {
        Arg.SRC: b.data(bottom, primitive[Arg.SRC]),
        Arg.WEIGHTS: _weights(b, spec, wide, parameters, primitive[Arg.WEIGHTS]),
        Arg.DST: b.make(epilogue.top, primitive[Arg.DST]),
    }
    if parameters.has_bias:
        memories[Arg.BIAS] = parameters.bias()

    def groups_alone() -> None:
        store(_alone(b, spec, fetch(memories[Arg.SRC]), parameters, epilogue, name), memories[Arg.DST])

    b.call_while(bound, primitive, memories, groups_alone)
    b.remark = f"{how_many(together, 'group')} at a time"
    return True


def _weights(b: Builder, spec: conv.ConvSpec, wide: conv.ConvSpec, parameters: Parameters, desc: MemoryDesc) -> Memory:
    """The weights of the merged groups in the layout `desc`, made again when the parameters change."""
    memory, staged = Memory(b.device, desc), b.scratch(wide.host_weights())
    convert = reorder(b.device, staged, memory)
    _, outputs, inputs, *kernel = spec.weights
    together = spec.groups // wide.groups
    shape = (wide.groups, together, outputs, together, inputs, prod(kernel))

    def refresh() -> None:
        own = parameters.row_major().reshape(wide.groups, together, outputs, inputs, -1)
        spread = staged.buffer.view(np.float32)[: prod(shape)].reshape(shape)
        spread[...] = 0
        for k in range(together):
            spread[:, k, :, k] = own[:, k]
        convert()

    b.when_changed(parameters.all_blobs, refresh)
    return memory


def _alone(b: Builder, spec: conv.ConvSpec, x: Array, parameters: Parameters, epilogue: Epilogue, name: str) -> Array:
    """The top for a bottom that is not finite, or may become so: of the groups by themselves, with NaN kept."""
    post_ops: list[PostOp] = [
        replace(post, alg=keeping_nan(post.alg, post.alpha)) if isinstance(post, EltwisePost) else post
        for post in epilogue.post_ops
    ]
    plain = [MemoryDesc.plain(shape) for shape in (spec.src, spec.dst)]
    primitive = conv.forward(b.device, spec, src=plain[0], dst=plain[1], training=False, post_ops=post_ops, layer=name)
    host = Memory.wrap(b.device, np.ascontiguousarray(parameters.row_major(), np.float32)).view(spec.host_weights())
    weights = Memory(b.device, primitive[Arg.WEIGHTS])
    Call(combine.reorder(b.device, host.desc, weights.desc), {Arg.SRC: host, Arg.DST: weights})()
    memories = {
        Arg.SRC: Memory.wrap(b.device, x).view(plain[0]),
        Arg.WEIGHTS: weights,
        Arg.DST: Memory(b.device, plain[1]),
    }
    if parameters.has_bias:
        memories[Arg.BIAS] = parameters.bias()
    Call(primitive, memories)()
    top: Array = memories[Arg.DST].numpy()
    return top
