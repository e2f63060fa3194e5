"""Tests of bf16 are skipped where the library has no bf16 at all, not even emulated."""

from __future__ import annotations

import pytest

from dragon.engines.onednn.library.constants import DataType
from dragon.engines.onednn.library.device import Device


@pytest.fixture(autouse=True)
def _known_type(request: pytest.FixtureRequest, device: Device) -> None:
    parameters = getattr(request.node, "callspec", None)
    if parameters is not None and parameters.params.get("dtype") == DataType.bf16 and not device.has_avx512:
        pytest.skip("this CPU has no bf16")
