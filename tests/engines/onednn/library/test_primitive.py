"""Prepared calls: what they demand, what they keep, and that running allocates nothing."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from dragon.engines.onednn.kernels import combine, eltwise
from dragon.engines.onednn.kernels import convolution as conv
from dragon.engines.onednn.kernels.convolution import ConvSpec
from dragon.engines.onednn.library.constants import Alg, Arg, DataType, Tag
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import BinaryPost, Call, EltwisePost, PostOp, Primitive
from dragon.errors import EngineError

SHAPE = (1, 16, 2, 2)


def test_missing_and_unlike_memories_are_named(device: Device) -> None:
    desc = MemoryDesc.plain(SHAPE)
    relu = eltwise.forward(device, Alg.eltwise_relu, desc, layer="relu1")
    with pytest.raises(EngineError, match="layer relu1: oneDNN eltwise forward: no memory for argument 17"):
        Call(relu, {Arg.SRC: Memory(device, desc)})
    other = Memory(device, MemoryDesc.tagged(SHAPE, DataType.f32, Tag.aBcd16b))
    with pytest.raises(EngineError, match="argument 17 expects 1x16x2x2 f32 abcd, got 1x16x2x2 f32 aBcd16b"):
        Call(relu, {Arg.SRC: Memory(device, desc), Arg.DST: other})


def test_implementation_is_named(device: Device) -> None:
    relu = eltwise.forward(device, Alg.eltwise_relu, MemoryDesc.plain(SHAPE))
    assert relu.implementation
    assert relu[Arg.SRC] == relu.inputs[Arg.SRC]


def test_calls_share_one_scratchpad(device: Device) -> None:
    spec = ConvSpec((2, 3, 8, 8), (2, 8, 8, 8), (3, 3), (1, 1), (1, 1), (1, 1))
    src, dst = MemoryDesc.plain(spec.src), MemoryDesc.plain(spec.dst)  # unfolded images need memory everywhere
    forward = conv.forward(device, spec, src=src, dst=dst)
    learn = conv.backward_weights(device, spec, forward, src=src, diff_dst=dst)
    assert learn.scratchpad > 0
    pad = Memory(device, MemoryDesc.plain((learn.scratchpad,), DataType.u8))
    memories = {a: Memory(device, d) for a, d in (learn.inputs | learn.outputs).items()}
    call = Call(learn, memories, pad)
    assert call.memories[Arg.SCRATCHPAD].buffer is pad.buffer
    with pytest.raises(ValueError, match="bytes"):
        Call(learn, memories, Memory(device, MemoryDesc.plain((8,), DataType.u8)))


def test_running_allocates_nothing(device: Device) -> None:
    memory = Memory.wrap(device, np.zeros(SHAPE, np.float32))
    relu = eltwise.forward(device, Alg.eltwise_relu, memory.desc)
    call = Call(relu, {Arg.SRC: memory, Arg.DST: memory})
    call()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(1000):
        call()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 1000


def test_layers_that_do_the_same_share_what_the_library_makes() -> None:
    device = Device()
    descs = [MemoryDesc.plain(SHAPE), MemoryDesc.tagged(SHAPE, DataType.f32, Tag.aBcd8b)]

    def made(layer: str, *post_ops: PostOp, strides: tuple[int, int] = (1, 1)) -> Primitive:
        spec = ConvSpec(SHAPE, SHAPE, (1, 1), strides, (0, 0), (1, 1))
        return conv.forward(device, spec, src=descs[0], training=False, post_ops=post_ops, layer=layer)

    one, same = made("one"), made("same")
    others = [
        made("other", EltwisePost(Alg.eltwise_relu)),
        made("other", BinaryPost(Alg.binary_add, descs[0])),
        made("other", BinaryPost(Alg.binary_add, descs[1])),
    ]
    assert (one.layer, same.layer) == ("one", "same")
    assert one._as_parameter_ is same._as_parameter_
    assert len({id(each.desc) for each in (one, *others)}) == 4
    assert len(device.compiled) == 4
    with pytest.raises(EngineError, match="layer more: oneDNN convolution forward: no memory for argument"):
        Call(made("more"), {})
    del one, same, others
    assert not device.compiled


def test_concatenations_and_sums_are_shared_by_what_they_join() -> None:
    device = Device()
    half, whole = MemoryDesc.plain((1, 8, 2, 2)), MemoryDesc.plain(SHAPE)
    joined = [combine.concat(device, [half, half], 1, dst=whole) for _ in range(2)]
    sums = [combine.weighted_sum(device, [whole, whole], weights) for weights in ([1.0, 2.0], [1.0, 2.0], [1.0, 3.0])]
    assert joined[0].desc is joined[1].desc
    assert sums[0].desc is sums[1].desc is not sums[2].desc
