"""Every layer that may work in place gives the same numbers and gradients as with a top of its own."""

from __future__ import annotations

import numpy as np
import pytest

import dragon
from tests.engines.in_place import IN_PLACE, agrees
from tests.engines.onednn.comparing import make_net

pytestmark = pytest.mark.usefixtures("device")


@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST], ids=["train", "test"])
@pytest.mark.parametrize("engine", ["numpy", "onednn"])
@pytest.mark.parametrize("name", IN_PLACE)
def test_every_layer(name: str, engine: str, phase: int) -> None:
    def make(text: str, engine: str) -> dragon.Net:
        return make_net(text, engine, phase, np.float64 if engine == "numpy" else np.float32)

    agrees(name, make, engine, 1e-9 if engine == "numpy" else 2e-4)
