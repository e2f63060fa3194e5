"""Every layer that may work in place gives the same numbers and gradients as with a top of its own."""

from __future__ import annotations

import numpy as np
import pytest

import dragon
from tests.engines.cuda.running import make
from tests.engines.in_place import IN_PLACE, agrees

pytestmark = pytest.mark.usefixtures("cuda")


@pytest.mark.parametrize("name", IN_PLACE)
def test_every_layer(name: str) -> None:
    def made(text: str, engine: str) -> dragon.Net:
        return make(text, engine, dtype=np.float64)

    agrees(name, made, "cuda", 1e-9)
