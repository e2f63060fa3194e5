"""Zeroed memory from NumPy and from the system."""

from __future__ import annotations

import mmap
import os
import sys
from typing import Any

import numpy as np
import pytest

from dragon.memory.aligned import ALIGNMENT, LARGE, address_of, aligned_bytes
from dragon.memory.storage import Storage

SIZES = [0, 1, 63, 4097, LARGE - 1, LARGE, LARGE + 1, 5 * LARGE + 3]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mapped", [True, False])
def test_zeros_that_can_be_written(size: int, mapped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not mapped:
        monkeypatch.setattr(sys, "platform", "win32")
    made = aligned_bytes(size)
    assert (made.size, made.dtype.name) == (size, "uint8")
    assert made.ctypes.data % ALIGNMENT == 0 or not size
    assert not made.any()
    made[...] = 7
    assert (made == 7).all()
    assert not aligned_bytes(size).any()


def test_numpy_is_asked_where_there_is_no_mapping(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **settings: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", refuse)
    assert aligned_bytes(2 * LARGE).size == 2 * LARGE
    with pytest.raises(MemoryError):
        aligned_bytes(1 << 50)


@pytest.mark.parametrize("part", [np.s_[:], np.s_[2:], np.s_[:, 1:], np.s_[3:3], np.s_[::-1, ::2]])
@pytest.mark.parametrize("writable", [True, False])
def test_addresses(part: Any, writable: bool) -> None:
    array = np.zeros((4, 6), np.float32)
    array.flags.writeable = writable
    assert address_of(array[part]) == array[part].ctypes.data


def test_memory_that_is_nowhere() -> None:
    with pytest.raises(MemoryError):
        aligned_bytes(1 << 50)


def test_views_of_a_large_storage_are_noticed() -> None:
    storage = Storage(LARGE)
    flat = storage.write()
    assert not storage.held
    view = flat[3:9]
    del flat
    assert storage.held
    del view
    assert not storage.held


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="no figures of the process")
def test_large_memory_goes_back_at_once() -> None:
    np.zeros(16 * LARGE, np.uint8)  # from now on the C library has pieces of this size in its heap
    kept = [aligned_bytes(8 * LARGE) for _ in range(9)]
    for each in kept:
        each[...] = 1
    before = _resident()
    del kept[:-1]  # the last one has the highest address in a heap, which so cannot shrink
    assert before - _resident() > 60 * LARGE


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="no figures of the process")
def test_memory_is_taken_when_it_is_used() -> None:
    size, before = 100_000, _resident()
    made = [aligned_bytes(size) for _ in range(400)]
    assert _resident() - before < len(made) * size / 10


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_has_memory_of_its_own() -> None:
    made = aligned_bytes(LARGE)
    child = os.fork()
    if child == 0:
        made[...] = 1
        os._exit(0)
    os.waitpid(child, 0)
    assert not made.any()


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * mmap.PAGESIZE
