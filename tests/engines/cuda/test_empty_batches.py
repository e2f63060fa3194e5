"""Batches without an item."""

from __future__ import annotations

import pytest

import dragon
from tests.engines.cuda.running import make
from tests.engines.empty_batches import EMPTY, check_empty, check_filtered

pytestmark = pytest.mark.usefixtures("cuda")


@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST], ids=["train", "test"])
@pytest.mark.parametrize("name", EMPTY)
def test_every_layer(name: str, phase: int) -> None:
    check_empty(name, make, "cuda", phase)


def test_a_filter_that_keeps_nothing() -> None:
    check_filtered(make, "cuda")
