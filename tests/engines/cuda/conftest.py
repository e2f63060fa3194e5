"""The engine without a GPU: CuPy and cuBLAS replaced, kernels built by g++."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from dragon.engines.cuda import blas, device
from tests.engines.cuda.emulation import standin
from tests.engines.cuda.emulation.compiler import find_compiler
from tests.engines.cuda.emulation.cublas import Cublas


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An emulated GPU for the nets of one test."""
    if find_compiler() is None:
        pytest.skip("g++ is not installed: kernels cannot be emulated")
    for name, module in standin.make().items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(blas, "load_library", lambda cupy: Cublas())
    device._gpus.clear()
    standin.counts.clear()
    standin.exposed.clear()
    yield
    device._gpus.clear()
