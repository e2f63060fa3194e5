"""The emulation finds what it is there to find: each kernel here has one planted mistake."""

from __future__ import annotations

import ctypes
import re
from typing import Any

import numpy as np
import pytest

from dragon.engines.cuda.kernels import sources
from tests.engines.cuda.emulation import standin
from tests.engines.cuda.emulation.compiler import LaunchError, build, find_compiler
from tests.engines.cuda.emulation.sixteen import narrow, wide

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="g++ is not installed: kernels cannot be emulated")

PLANTED = """
KERNEL past_the_end(const real* x, real* y, int n) { y[threadIdx.x] = x[(int)threadIdx.x + n]; }
KERNEL writes_past_the_end(real* y) { y[threadIdx.x + 1] = 1; }
KERNEL shared_past_the_end(real* y, int n) {
    __shared__ real buffer[64];
    buffer[threadIdx.x + n] = 1;
    y[threadIdx.x] = 0;
}
KERNEL misaligned(const real* x, real* y) { store(y, load(x + 1)); }
KERNEL race(real* y) {
    __shared__ real buffer[64];
    buffer[threadIdx.x] = threadIdx.x;
    y[threadIdx.x] = buffer[63 - threadIdx.x];
}
KERNEL race_for_a_half(real* y) {
    __shared__ real buffer[64];
    buffer[threadIdx.x] = threadIdx.x;
    y[threadIdx.x] = threadIdx.x == 63 ? ((unsigned short*)buffer)[1] : 0;
}
KERNEL with_barrier(real* y) {
    __shared__ real buffer[64];
    buffer[threadIdx.x] = threadIdx.x;
    __syncthreads();
    y[threadIdx.x] = buffer[63 - threadIdx.x];
}
KERNEL side_by_side(real* y) {
    __shared__ unsigned short buffer[64];
    buffer[threadIdx.x] = threadIdx.x;
    __syncthreads();
    y[threadIdx.x] = buffer[63 - threadIdx.x];
}
KERNEL two_writers(real* y) {
    __shared__ real buffer[1];
    buffer[0] = threadIdx.x;
    __syncthreads();
    y[threadIdx.x] = buffer[0];
}
KERNEL barrier_for_some(real* y) {
    if (threadIdx.x < 8) __syncthreads();
    y[threadIdx.x] = 0;
}
KERNEL two_barriers(real* y) {
    if (threadIdx.x < 8)
        __syncthreads();
    else
        __syncthreads();
    y[threadIdx.x] = 0;
}
KERNEL lanes_missing(real* y) {
    if (threadIdx.x % 32 < 8) y[threadIdx.x] = warp_sum(1);
}
KERNEL sums(real* y) { y[threadIdx.x] = warp_sum((real)threadIdx.x); }
KERNEL dynamic(real* y, int n) {
    DYNAMIC_SHARED(memory);
    real* buffer = (real*)memory;
    buffer[threadIdx.x + n] = threadIdx.x;
    __syncthreads();
    y[threadIdx.x] = buffer[63 - threadIdx.x + n];
}
KERNEL dynamic_race(real* y) {
    DYNAMIC_SHARED(memory);
    real* buffer = (real*)memory;
    buffer[threadIdx.x] = threadIdx.x;
    y[threadIdx.x] = buffer[63 - threadIdx.x];
}
KERNEL unset(real* y) {
    __shared__ real buffer[64];
    y[threadIdx.x] = buffer[threadIdx.x];
}
"""


def kernel(name: str, source: str | None = None) -> standin.RawKernel:
    header = sources.source("transform").split("// x (N, C, H, W) bytes")[0]
    return standin.RawKernel(build(source or header + PLANTED, "float"), name)


def array(count: int = 64) -> Any:
    return standin.zeros(count, np.float32)


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("past_the_end", (array(), array(), np.int32(1)), "block .0, 0, 0., thread .63, 0, 0.: out of bounds.* of `x`"),
        ("past_the_end", (array(), array(), np.int32(-1)), "thread .0, 0, 0.: out of bounds.*before the start of `x`"),
        ("writes_past_the_end", (array(),), "out of bounds: it writes 4 bytes, up to 4 bytes past the end of `y`"),
        ("shared_past_the_end", (array(), np.int32(1)), "out of bounds: index 64"),
        ("misaligned", (array(), array()), "misaligned access"),
        ("race", (array(),), "race in shared memory"),
        ("race_for_a_half", (array(),), "race in shared memory"),
        ("two_writers", (array(),), "race in shared memory"),
        ("barrier_for_some", (array(),), "waits at a barrier that other threads never reach"),
        ("two_barriers", (array(),), "waits at the barrier of line"),
        ("lanes_missing", (array(),), "waits in a warp exchange"),
    ],
)
def test_a_mistake_is_found(name: str, args: tuple[Any, ...], message: str) -> None:
    with pytest.raises(LaunchError, match=f"{name}: .*{message}"):
        kernel(name)((1,), (64,), args)
    y = array()
    kernel("sums")((1,), (64,), (y,))  # the next launch is none the worse
    assert y.get().tolist() == [496.0] * 32 + [1520.0] * 32


@pytest.mark.parametrize("name", ["with_barrier", "side_by_side"])
def test_the_same_with_a_barrier_is_right(name: str) -> None:
    """Also where threads write small numbers beside each other."""
    y = array()
    kernel(name)((1,), (64,), (y,))
    assert y.get().tolist() == list(range(63, -1, -1))


def test_dynamic_shared_memory_has_the_size_of_the_launch() -> None:
    y = array()
    for count in (64, 128):
        kernel("dynamic")((1,), (64,), (y, np.int32(count - 64)), shared_mem=4 * count)
        assert y.get().tolist() == list(range(63, -1, -1))
    with pytest.raises(LaunchError, match="out of bounds: it writes past the 256 bytes of dynamic shared memory"):
        kernel("dynamic")((1,), (64,), (y, np.int32(1)), shared_mem=256)
    with pytest.raises(LaunchError, match="race in shared memory"):
        kernel("dynamic_race")((1,), (64,), (y,), shared_mem=256)


def test_much_dynamic_shared_memory_has_to_be_asked_for() -> None:
    y, called = array(), kernel("dynamic")
    with pytest.raises(standin.CUDARuntimeError):
        called((1,), (64,), (y, np.int32(0)), shared_mem=64 << 10)
    with pytest.raises(standin.CUDARuntimeError):
        called.max_dynamic_shared_size_bytes = 1 << 20
    called.max_dynamic_shared_size_bytes = 64 << 10
    called((1,), (64,), (y, np.int32(0)), shared_mem=64 << 10)


def test_shared_memory_starts_as_nan() -> None:
    y = array()
    kernel("unset")((1,), (64,), (y,))
    assert np.isnan(y.get()).all()


REDUCTIONS = {
    ("batch_norm", "bn_statistics"): lambda k: k(
        (1, 1), (256,), (array(), array(2), *[np.uint64(0)] * 4, *np.array([4, 1, 16, 0, 64, 0], np.int32),
                         *np.array([0.9, 0.1], np.float32), np.int32(0))
    ),
    ("channels", "channel_sums"): lambda k: k(
        (1, 1), (256,), (array(), *[np.uint64(0)] * 3, array(2), *np.array([4, 1, 16, 0, 64, 0], np.int32),
                         np.float32(0))
    ),
    ("losses", "multinomial_terms"): lambda k: k(
        (1,), (256,), (array(64), array(32), *np.array([32, 2], np.int32), np.float32(1e-20), array(2), array(1),
                       array(1), standin.zeros(1, np.int32), standin.zeros(1, np.int32), np.float32(1))
    ),
    ("softmax", "softmax_long_rows"): lambda k: k(
        (1,), (256,), (array(2000), array(2000), *np.array([2, 1000], np.int32))
    ),
    ("solver", "clip_factor"): lambda k: k(
        (1,), (256,), (standin.zeros(300, np.float64), standin.zeros(3, np.float64), np.int32(300), np.float64(1),
                       np.uint64(0))
    ),
}  # fmt: skip


BARRIER = "__syncthreads();"


BODIES = {  # what does the work of a kernel
    "channel_sums": " sums_by_channel(",
    "multinomial_terms": " end(EndMemory",
    "softmax_long_rows": "struct ByBlock",
}


def barriers(source: str, name: str) -> list[int]:
    """Where the barriers of a kernel stand, and those of the block's sum if it takes one. The first of these keeps two
    sums apart: it is needed where there are two.
    """
    start = source.index(BODIES.get(name, f" {name}(const"))
    stop = source.find("\nKERNEL", start)
    kernel_only = source[start : stop if stop > 0 else len(source)]
    found = [start + m.start() for m in re.finditer(re.escape(BARRIER), kernel_only)]
    if "block_sum(" in kernel_only:
        of_sum = [
            m.start()
            for m in re.finditer(re.escape(BARRIER), source[: source.index("#line", source.index(" block_sum("))])
        ]
        found += of_sum if kernel_only.count("block_sum(") > 1 else of_sum[1:]
    return found


LOST = """
extern "C" int lost_barrier;
int lost_barrier = -1;
__attribute__((no_sanitize("thread"), noinline)) static bool is_there(int barrier) { return barrier != lost_barrier; }
"""


def with_switches(source: str, places: list[int]) -> str:
    """A source whose barrier number `lost_barrier` does nothing, so that one build serves to lose each in its turn."""
    for number, at in sorted(enumerate(places), key=lambda item: -item[1]):
        source = f"{source[:at]}if (is_there({number})) {source[at:]}"
    return LOST + source


@pytest.mark.parametrize(("file", "name"), REDUCTIONS)
def test_a_reduction_that_lost_a_barrier_is_found(file: str, name: str) -> None:
    source = sources.source(file)
    places = barriers(source, name)
    assert places
    built = kernel(name, with_switches(source, places))
    REDUCTIONS[file, name](built)
    for number in range(len(places)):
        ctypes.c_int.in_dll(built.library.loaded, "lost_barrier").value = number
        with pytest.raises(LaunchError, match="race in shared memory"):
            REDUCTIONS[file, name](built)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((array(), array()), "takes 3 arguments, got 2"),
        ((array(), array(), 1), "needs a scalar of 4 bytes"),
        ((array(), array(), np.int64(1)), "needs a scalar of 4 bytes"),
        ((array(), array().astype(np.float64), np.int32(1)), "needs float32, got float64"),
        ((np.zeros(64, np.float32), array(), np.int32(1)), "needs an array of the device"),
        ((array(128)[::2], array(), np.int32(1)), "needs a contiguous array"),
    ],
)
def test_arguments_have_to_be_exact(args: tuple[Any, ...], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        kernel("past_the_end")((1,), (64,), args)


def test_a_grid_that_no_card_takes_is_refused() -> None:
    with pytest.raises(LaunchError, match="invalid configuration"):
        kernel("sums")((1, 70000), (64,), (array(),))


def test_arrays_do_not_mix_with_numpy() -> None:
    with pytest.raises(TypeError, match="Unsupported type"):
        _ = array() + np.ones(64)
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(array())


def test_a_graph_records_and_runs_later() -> None:
    stream = standin.Stream()
    x = array()
    with stream:
        stream.begin_capture()
        x += 1
        y = x * 2
        graph = stream.end_capture()
        assert not x.get().any()
        graph.launch(stream)
        graph.launch(stream)
    assert (x.get() == 2).all()
    assert (y.get() == 4).all()


def test_a_capture_refuses_what_cupy_refuses() -> None:
    stream = standin.Stream()
    x = array()
    with stream:
        stream.begin_capture()
        with pytest.raises(RuntimeError, match="D2H transfers are disallowed"):
            float(x[0])
        with pytest.raises(NotImplementedError, match="cuBLAS"):
            _ = x @ x
        stream.end_capture()


@pytest.mark.parametrize(("stored", "dtype"), [("float16", np.float16), ("bfloat16", np.uint16)])
def test_16_bit_numbers_are_rounded_as_numpy_rounds(stored: str, dtype: Any) -> None:
    """Each number of the type, and what lies on and beside the middle between two of them."""
    bits = np.arange(65536, dtype=np.uint32)
    exact = wide(bits.astype(np.uint16).view(dtype))
    exact = np.sort(exact[np.isfinite(exact)])
    exact = exact[np.abs(exact) < 3e38]
    middle = ((exact[1:].astype(np.float64) + exact[:-1]) / 2).astype(np.float32)
    values = np.concatenate([exact, middle, np.nextafter(middle, np.float32(np.inf)), [np.inf, -np.inf, 7e4, -7e4, 0]])
    values = values[: len(values) // 8 * 8].astype(np.float32)
    library = build(sources.source("cast"), "float", stored)
    x, y = standin.asarray(values), standin.allocate(values.size, dtype)
    none = np.uint64(0)
    standin.RawKernel(library, "to_16_bit")((4,), (256,), (x, y, np.int32(values.size), np.int32(1), none))
    np.testing.assert_array_equal(wide(y.get()), wide(narrow(values, dtype)))
    standin.RawKernel(library, "to_float32")((4,), (256,), (y, x, np.int32(values.size), np.int32(0), none))
    np.testing.assert_array_equal(x.get(), wide(narrow(values, dtype)))
