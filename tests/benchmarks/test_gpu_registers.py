"""The table of registers, and that the kernels of batch normalisation fit a multiprocessor as they are laid out for."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from benchmarks.gpu_registers import FILES, ONE_BLOCK, TYPES, main, resources
from dragon.engines.cuda.kernels import sources
from tests.engines.cuda.nvrtc import Nvrtc, open_or_skip, options

SPILLS = """
extern "C" __global__ void few(float* y) { y[threadIdx.x] = 1; }
extern "C" __global__ void indexed(float* y, int n) {
    float all[32];
    for (int i = 0; i < 32; ++i) all[i] = y[i];
    for (int i = 0; i < n; ++i) all[(i * n) % 32] += all[(i + n) % 32];
    y[threadIdx.x] = all[n % 32];
}
"""


@pytest.fixture(scope="module")
def nvrtc() -> Nvrtc:
    return open_or_skip()


def test_registers_and_stack_are_read(nvrtc: Nvrtc) -> None:
    found = resources(nvrtc.compile(SPILLS, "k.cu", ["-arch=sm_90"])[0])
    assert set(found) == {"few", "indexed"}
    assert found["few"].stack == 0
    assert found["indexed"].stack >= 128
    assert 0 < found["few"].registers < found["indexed"].registers


@pytest.mark.parametrize("precision", TYPES)
@pytest.mark.parametrize(("name", "most"), [*((name, 64) for name in FILES), *((name, 128) for name in ONE_BLOCK)])
def test_the_blocks_fit_without_spilling(nvrtc: Nvrtc, name: str, most: int, precision: str) -> None:
    kept, _ = nvrtc.compile_once(sources.source(name), f"{name}.cu", options(TYPES[precision], "sm_90"))
    found = resources(kept)
    assert found
    for kernel, taken in found.items():
        assert taken.registers <= most, kernel
        assert taken.stack == 0, kernel


def test_the_command(nvrtc: Nvrtc, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.gpu_registers.TYPES", {"fp32": np.float32})
    assert main(["cast"]) == 0
    shown = capsys.readouterr().out
    assert "| kernel " in shown
    assert "`to_16_bit`" in shown
    assert main(["casts"]) == 2
    assert "no kernel file 'casts'" in capsys.readouterr().err
    monkeypatch.setattr(sys.modules["benchmarks.gpu_registers"], "find", lambda: None)
    assert main([]) == 2
    assert "nvidia-cuda-nvrtc is not installed" in capsys.readouterr().err
