"""Batches without an item."""

from __future__ import annotations

import pytest

import dragon
from tests.engines.empty_batches import EMPTY, check_empty, check_filtered
from tests.engines.onednn.comparing import make_net

pytestmark = pytest.mark.usefixtures("device")
ENGINES = pytest.mark.parametrize("engine", ["numpy", "onednn"])


@ENGINES
@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST], ids=["train", "test"])
@pytest.mark.parametrize("name", EMPTY)
def test_every_layer(name: str, phase: int, engine: str) -> None:
    check_empty(name, make_net, engine, phase)


@ENGINES
def test_a_filter_that_keeps_nothing(engine: str) -> None:
    check_filtered(make_net, engine)
