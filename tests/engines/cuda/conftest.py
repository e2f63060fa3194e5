"""The engine without a GPU: CuPy and cuBLAS replaced, kernels built by g++. With DRAGON_TEST_GPU=1, with a GPU."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from dragon.engines.cuda.device import blas, checking, cudnn, gpu, timing
from dragon.engines.cuda.device import cudnn_frontend as frontend
from tests.engines.cuda.emulation import standin, unreported
from tests.engines.cuda.emulation import timing as fixed_times
from tests.engines.cuda.emulation.compiler import find_compiler
from tests.engines.cuda.emulation.cublas import Cublas
from tests.engines.cuda.emulation.frontend import Package

ON_A_GPU = os.environ.get("DRAGON_TEST_GPU") == "1"


@pytest.fixture
def emulated(cuda: None) -> None:
    """For tests that look into the emulation."""
    if ON_A_GPU:
        pytest.skip("looks into the emulation, and this is a GPU")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An emulated GPU for the nets of one test; the real one where DRAGON_TEST_GPU is 1."""
    if not ON_A_GPU:
        unreported.install(monkeypatch)
    yield from emulation(monkeypatch)


def emulation(monkeypatch: pytest.MonkeyPatch, devices: int = 1) -> Iterator[None]:
    """What `cuda` does, for processes outside pytest as well: emulate so many GPUs until the iterator goes on."""
    if ON_A_GPU:
        yield
        return
    if find_compiler() is None:
        pytest.skip("g++ is not installed: kernels cannot be emulated")
    for name, module in standin.make(devices).items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(blas, "load_library", lambda cupy: Cublas())
    monkeypatch.setattr(cudnn, "load_library", lambda: None)
    monkeypatch.setattr(frontend, "load_package", lambda: None)
    monkeypatch.setattr(blas, "WORKSPACE", 1 << 16)  # NaN fills it, and the stand-in does not use it
    monkeypatch.setattr(timing, "milliseconds", fixed_times.milliseconds)
    monkeypatch.setattr(checking, "trusted", fixed_times.trusted)
    monkeypatch.setattr(timing, "_chosen", {})
    gpu._gpus.clear()
    standin.reset()
    yield
    gpu._gpus.clear()


@pytest.fixture
def package(emulated: None, monkeypatch: pytest.MonkeyPatch) -> Package:
    """The stand-in for cuDNN's frontend, which nets use."""
    made = Package()
    monkeypatch.setattr(frontend, "load_package", lambda: made)
    return made
