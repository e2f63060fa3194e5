"""Descriptors: sizes, equality, names; memories: alignment, views, rebinding; the bf16 conversions."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from dragon.engines.onednn.kernels.combine import reorder
from dragon.engines.onednn.library.constants import Arg, DataType, Tag
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.layouts import same_bytes
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import Call
from dragon.errors import EngineError
from dragon.memory.aligned import aligned_bytes
from dragon.memory.bf16 import from_bf16, to_bf16

SHAPE = (2, 3, 4, 5)


def test_descriptor_tells_its_layout(device: Device) -> None:
    plain, last = MemoryDesc.plain(SHAPE), MemoryDesc.channels_last(SHAPE)
    blocked = MemoryDesc.tagged(SHAPE, DataType.bf16, Tag.aBcd16b)
    assert [repr(d).split()[-1] for d in (plain, last, blocked)] == ["abcd", "acdb", "aBcd16b"]
    assert repr(MemoryDesc.any(SHAPE)) == "2x3x4x5 f32 any"
    assert [d.is_plain for d in (plain, last, blocked)] == [True, True, False]
    assert [d.is_row_major for d in (plain, last, blocked)] == [True, False, False]
    assert [d.size for d in (plain, last, blocked)] == [480, 480, 2 * 16 * 20 * 2]
    assert plain.strides == (60, 20, 5, 1)
    assert last.strides == (60, 1, 15, 3)
    assert plain == MemoryDesc.plain(SHAPE)
    assert len({plain, MemoryDesc.plain(SHAPE), last}) == 2
    assert MemoryDesc.any(SHAPE).is_any
    assert not plain.is_any


def test_axes_in_another_order(device: Device) -> None:
    whole = Memory(device, MemoryDesc.plain((2, 3, 4)))
    whole.numpy()[...] = np.arange(24).reshape(2, 3, 4)
    turned = Memory(device, MemoryDesc.plain((4, 2, 3)))
    seen = whole.view(whole.desc.permuted((2, 0, 1)))
    Call(reorder(device, seen.desc, turned.desc), {Arg.SRC: seen, Arg.DST: turned})()
    np.testing.assert_array_equal(turned.numpy(), whole.numpy().transpose(2, 0, 1))


def test_reshape_where_the_layout_allows(device: Device) -> None:
    assert MemoryDesc.plain(SHAPE).reshape((2, 60)) == MemoryDesc.plain((2, 60))
    with pytest.raises(EngineError, match="reshape of 2x32x2x2 f32 aBcd16b"):
        MemoryDesc.tagged((2, 32, 2, 2), DataType.f32, Tag.aBcd16b).reshape((2, 128))


def test_view_shows_the_bytes(device: Device) -> None:
    memory = Memory(device, MemoryDesc.channels_last(SHAPE))
    assert memory.buffer.ctypes.data % 64 == 0
    view = memory.numpy()
    view[1, 2, 3, 4] = 7
    assert view.shape == SHAPE
    assert memory.buffer.view(np.float32)[-1] == 7
    with pytest.raises(ValueError, match="cannot be seen"):
        Memory(device, MemoryDesc.tagged(SHAPE, DataType.f32, Tag.aBcd16b)).numpy()


def test_part_is_viewed_at_its_offset(device: Device) -> None:
    whole = Memory(device, MemoryDesc.plain(SHAPE))
    whole.numpy()[...] = np.arange(120).reshape(SHAPE)
    part = whole.view(whole.desc.submemory((2, 1, 4, 5), (0, 2, 0, 0)))
    np.testing.assert_array_equal(part.numpy(), whole.numpy()[:, 2:])


def test_views_begin_at_a_byte_and_keep_their_place_in_another_buffer(device: Device) -> None:
    whole = Memory(device, MemoryDesc.plain((6, 4)))
    whole.numpy()[...] = np.arange(24).reshape(6, 4)
    rows = whole.view(MemoryDesc.plain((3, 4)), 2 * 16)
    row = rows.view(MemoryDesc.plain((4,)), 16)
    np.testing.assert_array_equal(rows.numpy(), np.arange(8, 20).reshape(3, 4))
    np.testing.assert_array_equal(row.numpy(), [12, 13, 14, 15])
    assert row.origin is whole
    target = Memory(device, row.desc)
    call = Call(reorder(device, row.desc, row.desc), {Arg.SRC: row, Arg.DST: target})
    other = aligned_bytes(96)
    other.view(np.float32)[:] = -np.arange(24)
    row.rebind(other)
    call()
    np.testing.assert_array_equal(target.numpy(), [-12, -13, -14, -15])
    with pytest.raises(ValueError, match="of 32 bytes"):
        whole.view(MemoryDesc.plain((3, 4)), 16).rebind(aligned_bytes(32))


def test_small_buffer_is_refused(device: Device) -> None:
    with pytest.raises(ValueError, match="479 bytes"):
        Memory(device, MemoryDesc.plain(SHAPE), aligned_bytes(479))
    with pytest.raises(ValueError, match="479 bytes"):
        Memory(device, MemoryDesc.plain(SHAPE)).rebind(aligned_bytes(479))


def test_wrap_refuses_strides_and_other_types(device: Device) -> None:
    with pytest.raises(ValueError, match="contiguous"):
        Memory.wrap(device, np.zeros((3, 4), np.float32).T)
    with pytest.raises(ValueError, match="f32"):
        Memory.wrap(device, np.zeros(3))


def test_prepared_call_follows_a_rebound_memory(device: Device) -> None:
    desc = MemoryDesc.plain((4,))
    first, second = (Memory.wrap(device, np.full(4, v, np.float32)) for v in (1, 2))
    target = Memory(device, desc)
    call = Call(reorder(device, desc, desc), {Arg.SRC: first, Arg.DST: target})
    call()
    assert target.numpy().tolist() == [1] * 4
    first.rebind(second.buffer)
    call()
    assert target.numpy().tolist() == [2] * 4


def test_buffers_live_as_long_as_the_call(device: Device) -> None:
    desc = MemoryDesc.plain((1000,))
    target = Memory(device, desc)
    source = Memory.wrap(device, np.arange(1000, dtype=np.float32))
    call = Call(reorder(device, desc, desc), {Arg.SRC: source, Arg.DST: target})
    del source
    gc.collect()
    rubbish = [np.full(1000, -1, np.float32) for _ in range(50)]
    call()
    assert target.numpy().sum() == 499500
    assert len(rubbish) == 50


def test_bf16_rounds_to_nearest_even() -> None:
    values = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -0.0, np.inf, np.nan, 3e38], np.float32)
    back = from_bf16(to_bf16(values))
    wanted = [1.0, 1.0, 1 + 2**-6, 1 + 2**-7, -0.0, np.inf, np.nan, from_bf16(np.array([0x7F62], np.uint16))[0]]
    np.testing.assert_array_equal(back, np.array(wanted, np.float32))


@pytest.mark.parametrize(
    ("shape", "alike"),
    [((2, 16, 1, 1), True), ((2, 12, 1, 1), False), ((2, 16, 1, 2), False), ((1, 16, 1, 1), True)],
)
def test_layouts_with_the_same_bytes(shape: tuple[int, ...], alike: bool) -> None:
    """Maps of one pixel have the same bytes in all layouts, unless channels fill up a block."""
    plain, last = MemoryDesc.plain(shape), MemoryDesc.channels_last(shape)
    blocked = MemoryDesc.tagged(shape, DataType.f32, Tag.aBcd8b)
    assert same_bytes(plain, blocked) == same_bytes(blocked, last) == alike
    assert same_bytes(plain, last) == (shape[2:] == (1, 1))
    assert not same_bytes(plain, MemoryDesc.plain(shape, DataType.bf16))
    if alike:
        source, target = Memory(Device(), plain), Memory(Device(), blocked)
        source.elements()[...] = np.arange(source.elements().size)
        reorder_call = reorder(source.device, source.desc, target.desc)
        Call(reorder_call, {Arg.SRC: source, Arg.DST: target})()
        np.testing.assert_array_equal(source.elements(), target.elements())


def test_equal_descriptors_are_one_object(device: Device) -> None:
    assert MemoryDesc.plain((2, 3)) is MemoryDesc.plain((2, 3))
    assert MemoryDesc.channels_last((2, 3, 4, 4)) is MemoryDesc.channels_last((2, 3, 4, 4))
    assert MemoryDesc.plain((2, 3)) is not MemoryDesc.plain((2, 3), strides=(1, 2))
    assert MemoryDesc.tagged((1, 8, 2, 2), DataType.f32, Tag.aBcd8b) is not MemoryDesc.any((1, 8, 2, 2))
