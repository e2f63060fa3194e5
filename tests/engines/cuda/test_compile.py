"""Every kernel file compiles for the cards we know, without a warning. Needs no GPU and no driver."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dragon.engines.cuda.device.precision import BFLOAT16, FLOAT16, defines
from dragon.engines.cuda.kernels import sources
from tests.engines.cuda.emulation.compiler import HEADER, find_compiler
from tests.engines.cuda.kept import key, once, version
from tests.engines.cuda.nvrtc import CUPY_OPTIONS, Nvrtc, open_or_skip, options

ELF = b"\x7fELF"
TYPES = (np.float32, np.float64, FLOAT16, BFLOAT16)
ARCHITECTURES = ["sm_90", *(pytest.param(name, marks=pytest.mark.heavy) for name in ("sm_80", "sm_100"))]


@pytest.fixture(scope="module")
def nvrtc() -> Nvrtc:
    return open_or_skip()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", sources.names())
def test_compiles_without_a_warning(nvrtc: Nvrtc, name: str, architecture: str) -> None:
    """For float32 as on a card. Other types are other text to the same optimiser, which takes half of the time."""
    for dtype in TYPES:
        more = nvrtc.fastest() if dtype != np.float32 else []
        code, log = nvrtc.compile_once(sources.source(name), f"{name}.cu", [*options(dtype, architecture), *more])
        assert code.startswith(ELF)
        assert not log


def test_cupy_adds_these_options() -> None:
    spec = importlib.util.find_spec("cupy")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("CuPy is not installed: its options were not looked up")
    text = Path(spec.submodule_search_locations[0], "cuda", "compiler.py").read_text(encoding="utf-8")
    assert all(f"'{option}'" in text for option in CUPY_OPTIONS)


def test_the_log_shows_warnings(nvrtc: Nvrtc) -> None:
    _, log = nvrtc.compile("__global__ void k() { int unused; }", "k.cu", ["-arch=sm_90"])
    assert "unused" in log


def test_an_error_is_reported_with_its_line(nvrtc: Nvrtc) -> None:
    with pytest.raises(RuntimeError, match=r"k\.cu\(2\)"):
        nvrtc.compile("\n__global__ void k() { missing(); }", "k.cu", ["-arch=sm_90"])


def test_no_16_bit_number_becomes_an_integer_by_itself(tmp_path: Path) -> None:
    """`c ? x[i] : 0` would."""
    compiler = find_compiler()
    if compiler is None:
        pytest.skip("g++ is not installed")
    flags = ["-std=c++17", "-fsyntax-only", "-Wfloat-conversion", *defines(FLOAT16)]

    def warnings(text: str) -> str:
        return once(key(text, HEADER.read_text(), version(compiler), *flags), lambda: found(text).encode()).decode()

    def found(text: str) -> str:
        (tmp_path / "k.cpp").write_text(f'#include "{HEADER}"\n{text}')
        done = subprocess.run([compiler, *flags, "k.cpp"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert not done.returncode, done.stderr
        return done.stderr

    planted = "KERNEL planted(const stored* x, stored* y, int c) { y[0] = c ? x[0] : 0; }\n"
    assert "may change value" in warnings(sources.source("cast") + planted)
    for name in sources.names():
        assert not warnings(sources.source(name)), name
