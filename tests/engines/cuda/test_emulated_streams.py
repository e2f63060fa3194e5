"""The emulation refuses what CUDA and CuPy refuse while a stream is captured, and finds copies that nobody waits for.

What CuPy 14.2 refuses, and with which exception, was seen on an H200.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.engines.cuda.emulation import memory, standin, streams

RELAXED, THREAD_LOCAL = streams.RELAXED, streams.THREAD_LOCAL
CUDA_ERROR = streams.CUDARuntimeError


@pytest.fixture(autouse=True)
def clean() -> None:
    standin.reset()


def array(count: int = 64) -> Any:
    return standin.zeros(count, np.float32)


def pinned(count: int) -> Any:
    return np.frombuffer(memory.alloc_pinned_memory(4 * count), np.float32, count)


def recorded(stream: standin.Stream) -> standin.Event:
    event = standin.Event(disable_timing=True)
    event.record(stream)
    return event


def copy(x: Any, way: str) -> None:
    host = pinned(64)
    getattr(x.data, f"copy_{way}_host_async")(host.ctypes.data, x.nbytes)
    standin.Stream.current.synchronize()


REFUSED: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "get": (lambda x: x.get(), RuntimeError, "D2H transfers are disallowed"),
    "item": (lambda x: float(x[0]), RuntimeError, "D2H transfers are disallowed"),
    "set": (lambda x: x.set(np.zeros(64, np.float32)), RuntimeError, "H2D transfers are disallowed"),
    "asarray": (lambda x: standin.asarray(np.zeros(4)), RuntimeError, "H2D transfers are disallowed"),
    "to the host": (lambda x: copy(x, "to"), RuntimeError, "D2H transfers are disallowed"),
    "to the device": (lambda x: copy(x, "from"), RuntimeError, "H2D transfers are disallowed"),
    "where": (lambda x: x[x > 0], RuntimeError, "D2H transfers are disallowed"),
    "nonzero": (lambda x: x.nonzero(), RuntimeError, "D2H transfers are disallowed"),
    "a list of indices": (lambda x: x[[0, 1]], RuntimeError, "H2D transfers are disallowed"),
    "product": (lambda x: x @ x, NotImplementedError, "cuBLAS"),
    "einsum": (lambda x: np.einsum("i,i->i", x, x), NotImplementedError, "cuBLAS"),
    "eigenvectors": (
        lambda x: standin.make()["cupy"].linalg.eigh(x.reshape(8, 8)), NotImplementedError, "cuSOLVER",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_cupy_refuses_it_and_the_capture_stays_valid(name: str) -> None:
    call, error, message = REFUSED[name]
    stream, x = standin.Stream(), array()
    with stream:
        stream.begin_capture(RELAXED)
        with pytest.raises(error, match=message) as raised:
            call(x)
        assert not isinstance(raised.value, CUDA_ERROR)
        stream.end_capture()
        if name != "a list of indices":
            call(x)  # outside of a capture it is allowed


INVALIDATING: dict[str, Callable[[Any, standin.Stream, standin.Event], Any]] = {
    "the stream": lambda x, stream, event: stream.synchronize(),
    "an event": lambda x, stream, event: event.synchronize(),
    "an event of the capture": lambda x, stream, event: recorded(stream).synchronize(),
    "the device": lambda x, stream, event: streams.synchronize_all(),
}


@pytest.mark.parametrize("mode", [RELAXED, THREAD_LOCAL])
@pytest.mark.parametrize("name", INVALIDATING)
def test_waiting_of_the_host_spoils_a_capture(name: str, mode: int) -> None:
    stream, x = standin.Stream(), array()
    event = recorded(stream)
    with stream:
        stream.begin_capture(mode)
        with pytest.raises(CUDA_ERROR, match="StreamCaptureUnsupported"):
            INVALIDATING[name](x, stream, event)
        with pytest.raises(CUDA_ERROR, match="StreamCaptureInvalidated"):
            stream.end_capture()
        INVALIDATING[name](x, stream, event)


def test_a_capture_waits_for_nothing_outside_of_it() -> None:
    stream, other = standin.Stream(), standin.Stream()
    event = recorded(other)
    with stream:
        stream.begin_capture(RELAXED)
        stream.wait_event(recorded(stream))  # of this capture
        with pytest.raises(CUDA_ERROR, match="StreamCaptureIsolation"):
            stream.wait_event(event)
        with pytest.raises(CUDA_ERROR, match="StreamCaptureInvalidated"):
            stream.end_capture()


def test_an_event_of_a_capture_serves_nobody_else() -> None:
    stream, other = standin.Stream(), standin.Stream()
    stream.begin_capture(RELAXED)
    event = recorded(stream)
    stream.end_capture()
    with pytest.raises(CUDA_ERROR, match="CapturedEvent"):
        event.synchronize()
    with pytest.raises(CUDA_ERROR, match="CapturedEvent"):
        other.wait_event(event)
    stream.begin_capture(RELAXED)
    with pytest.raises(CUDA_ERROR, match="StreamCaptureIsolation"):
        stream.wait_event(event)


def test_no_time_passes_between_events_that_measure_none() -> None:
    stream = standin.Stream()
    for one in (standin.Event(), recorded(stream)):
        other = standin.Event()
        other.record(stream)
        with pytest.raises(CUDA_ERROR, match="InvalidResourceHandle"):
            streams.get_elapsed_time(one, other)
    stream.begin_capture(RELAXED)
    one = standin.Event()
    one.record(stream)
    with pytest.raises(CUDA_ERROR, match="CapturedEvent"):
        streams.get_elapsed_time(one, other)


def test_an_event_that_was_never_recorded_is_not_waited_for() -> None:
    stream = standin.Stream()
    with pytest.raises(AssertionError, match="a stream waits for an event that was never recorded"):
        stream.wait_event(standin.Event())
    with pytest.raises(AssertionError, match="the host waits for an event that was never recorded"):
        standin.Event().synchronize()


def test_the_default_stream_is_not_captured() -> None:
    with pytest.raises(RuntimeError, match="cannot capture on the default"):
        standin.Stream.current.begin_capture(RELAXED)


def test_a_thread_local_capture_allocates_only_what_its_pool_has() -> None:
    stream, pool = standin.Stream(), standin.MemoryPool()
    with stream, memory.using_allocator(pool.malloc):
        array()  # a free block of the pool from now on
        stream.begin_capture(THREAD_LOCAL)
        x = array()
        with pytest.raises(CUDA_ERROR, match="StreamCaptureUnsupported"):
            array()
        with pytest.raises(CUDA_ERROR, match="StreamCaptureInvalidated"):
            stream.end_capture()
        stream.begin_capture(RELAXED)
        y = array()
        stream.end_capture()
    assert pool.total_bytes() == pool.used_bytes() == 2 * 512
    del x, y
    assert (pool.total_bytes(), pool.used_bytes()) == (2 * 512, 0)


# -- copies ---------------------------------------------------------------------------------------------------------
def test_a_copy_to_the_host_arrives_when_the_host_has_waited() -> None:
    stream, host = standin.Stream(), pinned(64)
    with stream:
        x = array()
        x.fill(1)
        x.data.copy_to_host_async(host.ctypes.data, x.nbytes, stream)
        assert not host.any()
        event = recorded(stream)
        event.synchronize()
        assert host.all()


def test_a_copy_to_the_device_arrives_when_a_stream_has_waited() -> None:
    stream, other, host = standin.Stream(), standin.Stream(), pinned(64)
    host.fill(1)
    with stream:
        x = array()
        x.data.copy_from_host_async(host.ctypes.data, x.nbytes, other)
        event = recorded(other)
        assert not x.get().any()
        stream.wait_event(event)
        assert x.get().all()


def test_pinned_memory_that_is_freed_too_early_is_found() -> None:
    stream, host = standin.Stream(), pinned(64)
    with stream:
        x = array()
        x.data.copy_from_host_async(host.ctypes.data, x.nbytes, stream)
        del host
        with pytest.raises(AssertionError, match="pinned memory was freed before"):
            stream.synchronize()
        with pytest.raises(AssertionError, match="not pinned"):
            x.data.copy_from_host_async(np.zeros(64, np.float32).ctypes.data, x.nbytes, stream)


def test_a_copy_into_memory_that_a_stream_still_uses_is_found() -> None:
    stream, other, host = standin.Stream(), standin.Stream(), pinned(64)
    host.fill(1)
    with stream:
        x, y = array(), array()
        for waits in (False, True):
            with standin.delayed():
                x.fill(2)
                y[...] = x
                if waits:
                    other.wait_event(recorded(stream))
                x.data.copy_from_host_async(host.ctypes.data, x.nbytes, other)
                stream.wait_event(recorded(other))
                stream.synchronize()
            assert (y.get() == 2).all()
            assert x.get()[0] == (1 if waits else 2)  # without it, the fill comes after the copy


def test_dropped_pools_are_not_counted() -> None:
    pool = standin.MemoryPool()
    with memory.using_allocator(pool.malloc):
        x = array()
    gone = weakref.ref(pool)
    assert pool in standin.MemoryPool.alive
    del pool
    gc.collect()
    assert gone() is None
    x.fill(1)  # an array outlives its pool
