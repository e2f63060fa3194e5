"""Every layer type, with its options in their usual form, forward and backward, with a kernel or without."""

from __future__ import annotations

import pytest

import dragon
from tests.engines.every_layer import agree_on
from tests.layers.catalogue import CASES

pytestmark = pytest.mark.usefixtures("cuda")


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_the_reference(name: str) -> None:
    agree_on(CASES[name], "cuda", dragon.TRAIN).close()
