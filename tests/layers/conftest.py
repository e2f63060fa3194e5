"""A fixture for layers that hold threads and files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.layers.helpers import One


@pytest.fixture
def opened() -> Iterator[list[One]]:
    """Layers put in here are closed after the test."""
    layers: list[One] = []
    yield layers
    for one in layers:
        one.layer.close()
