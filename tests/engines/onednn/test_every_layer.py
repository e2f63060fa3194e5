"""Every layer type, with its options in their usual form, forward and backward, lowered or not."""

from __future__ import annotations

import pytest

import dragon
from tests.engines.every_layer import agree_on
from tests.engines.onednn.comparing import notes
from tests.layers.catalogue import CASES

pytestmark = pytest.mark.usefixtures("device")


@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST], ids=["train", "test"])
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_the_reference(name: str, phase: int) -> None:
    net = agree_on(CASES[name], "onednn", phase)
    assert notes(net)["one"]
    net.close()
