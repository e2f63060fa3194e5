"""Parts of channels: in each layout they hold all values of their channel, and sums over them are exact."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.engines.onednn.kernels.channel_parts import ChannelParts, channel_vector, moments, products
from dragon.engines.onednn.library.constants import Arg, DataType, Tag
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import Call
from tests.engines.onednn.running import load

SHAPE = (6, 20, 8, 12)
DESCS = {
    "row-major": MemoryDesc.plain(SHAPE),
    "channels-last": MemoryDesc.channels_last(SHAPE),
    "16 channels": MemoryDesc.tagged(SHAPE, DataType.f32, Tag.aBcd16b),
    "8 channels": MemoryDesc.tagged(SHAPE, DataType.f32, Tag.aBcd8b),
    "flat": MemoryDesc.plain((60, 7)),
    "one spatial axis": MemoryDesc.tagged((6, 20, 24), DataType.f32, Tag.aBc16b),
    "three spatial axes": MemoryDesc.tagged((6, 20, 4, 3, 2), DataType.f32, Tag.aBcde16b),
}


@pytest.mark.parametrize("longest", [1, 8, 96, 10_000])
@pytest.mark.parametrize("desc", DESCS.values(), ids=DESCS)
def test_moments_of_parts_give_those_of_channels(device: Device, desc: MemoryDesc, longest: int) -> None:
    x = np.random.default_rng(0).standard_normal(desc.dims).astype(np.float32) + 2
    parts = ChannelParts.of(desc, longest)
    assert parts is not None
    primitive = moments(device, parts)
    memories = {arg: Memory(device, of) for arg, of in primitive.outputs.items()}
    Call(primitive, memories | {Arg.SRC: load(device, desc, x.astype(np.float64)).view(parts.desc)})()
    axes = (0, *range(2, x.ndim))
    mean = parts.total(memories[Arg.MEAN].numpy()) / parts.per_channel
    np.testing.assert_allclose(mean, x.mean(axes, dtype=np.float64), rtol=2e-6)
    square = memories[Arg.VARIANCE].numpy() + memories[Arg.MEAN].numpy() ** 2
    total = parts.total(square) / parts.per_channel
    np.testing.assert_allclose(total - mean**2, x.var(axes, dtype=np.float64), rtol=1e-5)


@pytest.mark.parametrize("desc", DESCS.values(), ids=DESCS)
def test_products(device: Device, desc: MemoryDesc) -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal(desc.dims).astype(np.float32) for _ in range(2))
    parts = ChannelParts.of(desc, 12)
    assert parts is not None
    primitive = products(device, parts)
    if primitive is None:
        known = desc.is_row_major or desc == DESCS["8 channels"]
        assert known or not device.has_avx512, "no fast kernel"  # whose blocks have 16 channels
        return
    memories = {arg: Memory(device, of) for arg, of in primitive.outputs.items()}
    sources = {
        Arg.SRC: load(device, desc, x.astype(np.float64)).view(parts.desc),
        Arg.DIFF_DST: load(device, desc, y.astype(np.float64)).view(parts.desc),
    }
    Call(primitive, memories | sources)()
    axes = (0, *range(2, x.ndim))
    for arg, values in ((Arg.DIFF_WEIGHTS, x.astype(np.float64) * y), (Arg.DIFF_BIAS, y.astype(np.float64))):
        total = parts.total(memories[arg].elements()[: parts.count])
        np.testing.assert_allclose(total, values.sum(axes), atol=1e-5)


@pytest.mark.parametrize("desc", DESCS.values(), ids=DESCS)
def test_a_vector_reaches_all_parts(desc: MemoryDesc) -> None:
    parts = ChannelParts.of(desc, 8)
    assert parts is not None
    vector = np.arange(1.0, desc.dims[1] + 1)
    out = np.zeros(parts.count, np.float32)
    parts.spread(vector, out)
    np.testing.assert_array_equal(parts.total(out), vector * parts.per_channel)
    assert parts.count - np.count_nonzero(out) == parts.count - parts.per_channel * desc.dims[1]


def test_a_vector_lies_as_the_tensor() -> None:
    assert repr(channel_vector(DESCS["16 channels"])) == "1x20x1x1 f32 aBcd16b"
    assert channel_vector(DESCS["channels-last"]) == MemoryDesc.plain((1, 20, 1, 1))


def test_parts_of_two_tensors_are_summed_together() -> None:
    parts = ChannelParts.of(DESCS["16 channels"], 8)
    assert parts is not None
    values = np.random.default_rng(0).standard_normal((2, parts.count))
    np.testing.assert_array_equal(parts.total(values), [parts.total(row) for row in values])


def test_an_extent_without_small_divisors_stays_whole() -> None:
    parts = ChannelParts.of(MemoryDesc.plain((2, 3, 101)), 64)
    assert parts is not None
    assert parts.order == (2, 3, 1, 1)


def test_an_unknown_layout_has_no_parts() -> None:
    assert ChannelParts.of(MemoryDesc.plain((2, 3, 4, 5), strides=(60, 20, 1, 4)), 8) is None
