"""A fixture for what holds threads and files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dragon.graph.net import Net
from dragon.solver.solver import Solver
from tests.layers.helpers import One


@pytest.fixture
def opened() -> Iterator[list[Net | Solver | One]]:
    """Nets, solvers and layers put in here are closed after the test."""
    found: list[Net | Solver | One] = []
    yield found
    for one in found:
        (one.layer if isinstance(one, One) else one).close()
