"""Kernels as objects: each says of itself what its source says, and a wrong call fails before anything is launched."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragon.engines.cuda.device.counting import CountingDevice, Shaped
from dragon.engines.cuda.device.precision import BFLOAT16, FLOAT16
from dragon.engines.cuda.kernels import kernel, sources
from dragon.engines.cuda.kernels.elementwise import prelu_forward, weighted_sum
from dragon.engines.cuda.kernels.kernel import Blocks, Elements, Kernel, Parameter, declared
from dragon.engines.cuda.kernels.solver import check_loss, gradient_squares
from tests.engines.cuda.emulation import standin
from tests.engines.cuda.emulation.compiler import build, find_compiler
from tests.engines.cuda.running import layer, make


def kernels_of(file: str) -> dict[str, tuple[Parameter, ...]]:
    importlib.import_module(f"dragon.engines.cuda.kernels.{file}")
    return {one.name: one.parameters for one in declared() if one.file == file}


@pytest.mark.skipif(find_compiler() is None, reason="g++ is not installed: sources cannot be read")
@pytest.mark.parametrize("file", sources.names())
def test_every_kernel_of_a_source_is_declared_as_it_is(file: str) -> None:
    """Names, order, types, and which pointers are const; neither side has one more."""
    source = {
        name: tuple(Parameter(p.name, p.type, p.constant) for p in parameters)
        for name, parameters in build(sources.source(file), "float").kernels.items()
    }
    assert kernels_of(file) == source
    assert source


def test_the_constants_are_those_of_the_headers() -> None:
    text = "".join((sources.FOLDER / name).read_text(encoding="utf-8") for name in ("common.cuh", "random.cuh"))
    for name in ("THREADS", "WARP", "RANDOM_WORDS"):
        assert re.search(rf"#define {name} (\d+)", text)[1] == str(getattr(kernel, name))  # type: ignore[index]


def arguments(dtype: Any = np.float32, count: int = 64) -> dict[str, Any]:
    x, y, out = (Shaped(count, dtype) for _ in range(3))
    return {"x": x, "y": y, "out": out, "count": count, "vectors": True, "a": 1.0, "b": 0.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"betta": 1.0}, "weighted_sum has no parameter 'betta'"),
        ({"cuont": 1}, "no parameter 'cuont'.*count"),
        ({"a": 1}, "parameter real a: got 1"),
        ({"count": 1.0}, "parameter Index count: got 1.0"),
        ({"count": -1}, "parameter Index count: got -1"),
        ({"count": 2**31}, "parameter Index count"),
        ({"x": Shaped(64, np.float64)}, "parameter const stored. x, float32: got an array of float64"),
        ({"out": 5}, "parameter stored. out, float32: got 5"),
        ({"grid": 4}, "its launch rule says the grid"),
    ],
)
def test_a_wrong_argument_fails_before_the_launch(change: dict[str, Any], message: str) -> None:
    device = CountingDevice()
    with pytest.raises(TypeError, match=message):
        weighted_sum(device, np.float32, **{**arguments(), **change})
    assert not device.launches
    weighted_sum(device, np.float32, **arguments())
    assert device.launches == [("weighted_sum", 3 * 64 * 4, 0)]


@pytest.mark.parametrize("name", ["grid", "shared_bytes"])
def test_a_parameter_cannot_have_the_name_of_something_of_a_launch(name: str) -> None:
    with pytest.raises(ValueError, match=f"planted.cu: kernel one cannot have a parameter '{name}'"):
        Kernel("planted", "one", f"real* x, int {name}")


def test_a_missing_argument_and_a_missing_grid_are_named() -> None:
    device, values = CountingDevice(), arguments()
    del values["vectors"], values["b"]
    with pytest.raises(TypeError, match="weighted_sum: arguments missing: vectors, b"):
        weighted_sum(device, np.float32, **values)
    with pytest.raises(TypeError, match="gradient_squares: grid is missing"):
        gradient_squares(device, np.float32, entries=None, chunks=None, squares=None)


@pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16, np.float32, np.float64])
def test_types_follow_what_a_kernel_is_compiled_for(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`stored` is the activations' type, `real` what is computed in."""
    launched: list[tuple[Any, ...]] = []
    device = CountingDevice()
    monkeypatch.setattr(device, "launch", lambda kernel, dtype, grid, given, shared: launched.append(given))
    weighted_sum(device, dtype, **arguments(dtype))
    a, vectors, count = launched[0][5], launched[0][4], launched[0][3]
    assert a.dtype == (np.float64 if dtype is np.float64 else np.float32)
    assert (vectors.dtype, count.dtype) == (np.int32, np.uint32)
    with pytest.raises(TypeError, match="stored"):
        weighted_sum(device, dtype, **arguments(np.int32))


def test_the_rule_gives_the_blocks() -> None:
    device = CountingDevice()
    values = {"count": 256 * 40, "rows": 12}
    assert Elements().blocks(device, values, np.float32) == 40
    assert Elements().blocks(device, {**values, "vectors": True}, np.float32) == 10
    assert Elements().blocks(device, {**values, "vectors": True}, FLOAT16) == 5
    assert Elements(each=8).blocks(device, values, np.float32) == 5
    assert Elements("rows", together=32).blocks(device, values, np.float32) == 2
    assert Elements().blocks(device, {"count": 0}, np.float32) == 0
    assert Blocks("rows").blocks(device, values, np.float32) == 12
    assert Blocks("count").blocks(device, values, np.float32) == 16 * device.multiprocessors
    assert Blocks(number=1).blocks(device, values, np.float32) == 1


def test_nothing_is_launched_where_there_is_nothing_to_do() -> None:
    device = CountingDevice()
    weighted_sum(device, np.float32, **arguments(count=0))
    assert not device.launches


def test_a_null_pointer_is_none() -> None:
    device = CountingDevice()
    check_loss(device, np.float32, loss=Shaped(1, np.float32), out_of_range=None, total=None, step=None,
               scale=None, report=0, count=1, layers=0, weight=1.0, first=True, last=True)  # fmt: skip
    assert device.launches == [("check_loss", 4, 0)]


def test_a_kernel_is_declared_once() -> None:
    with pytest.raises(ValueError, match="declared twice"):
        Kernel("elementwise", "weighted_sum", "int n")


@pytest.mark.usefixtures("emulated")
def test_a_replayed_graph_calls_no_kernel_object(monkeypatch: pytest.MonkeyPatch) -> None:
    net = make(f'input: "x" input_shape {{ dim: 8 }}\n{layer("TanH")}', "cuda")
    for value in (1.0, 2.0):  # the second run is captured
        net.blobs["x"].data[...] = value
        net.run_forward()

    def called(self: Kernel, *args: Any, **kwargs: Any) -> None:
        raise AssertionError(f"{self.name} was launched again")

    monkeypatch.setattr(Kernel, "__call__", called)
    net.blobs["x"].data[...] = 0.5
    net.run_forward()
    np.testing.assert_allclose(net.blobs["y"].data, np.tanh(np.full(8, 0.5)), rtol=1e-6)


DIVISION = """
#include "common.cuh"
#include "division.cuh"
KERNEL divides(const int* n, int* quotient, int* rest, Divisor d) {
    Index left;
    quotient[threadIdx.x] = divide(n[threadIdx.x], d, left);
    rest[threadIdx.x] = left;
}
"""


@pytest.mark.usefixtures("emulated")
def test_a_divisor_divides_every_index_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also at the ends of the range, and on both sides of multiples and of powers of two."""
    for name in ("common.cuh", "division.cuh"):
        (tmp_path / name).write_text((sources.FOLDER / name).read_text(encoding="utf-8"))
    (tmp_path / "divides.cu").write_text(DIVISION)
    monkeypatch.setattr(sources, "FOLDER", tmp_path)
    compiled = standin.RawKernel(build(sources.source("divides"), "float"), "divides")
    powers = [1 << bit for bit in range(31)]
    some = np.random.default_rng(3).integers(1, kernel.MOST, 40).tolist()
    for d in sorted({1, 2, 3, 5, 7, 49, 1000, kernel.MOST, *powers, *(p - 1 for p in powers[1:]), *some}):
        multiples = [d * k for k in (1, 2, 3, kernel.MOST // d) if d * k <= kernel.MOST]
        n = [0, 1, kernel.MOST, kernel.MOST - 1, *some[:10], *multiples, *(m - 1 for m in multiples)]
        quotient, rest = (standin.zeros(len(n), np.int32) for _ in range(2))
        compiled((1,), (len(n),), (standin.asarray(np.array(n, np.int32)), quotient, rest, kernel.divisor(d)))
        assert quotient.get().tolist() == [value // d for value in n], d
        assert rest.get().tolist() == [value % d for value in n], d


def test_a_divisor_is_given_as_a_number() -> None:
    values: dict[str, Any] = {"slopes": 3, "spatial": 0, "count": 0, **dict.fromkeys(("x", "slope", "y", "copy"))}
    device = CountingDevice()
    prelu_forward(device, np.float32, **values)
    for wrong in (-1, 2**31, 1.0):
        with pytest.raises(TypeError, match="parameter Divisor slopes: got"):
            prelu_forward(device, np.float32, **{**values, "slopes": wrong})
