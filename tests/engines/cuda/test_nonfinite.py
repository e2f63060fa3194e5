"""NaN and infinities come out of every layer, forward and backward, where they do on the reference."""

from __future__ import annotations

import numpy as np
import pytest

import dragon
from tests.engines.cuda.running import make
from tests.engines.ignored_labels import KINDS, check
from tests.engines.nonfinite import CHAINS, Chain, faults, places
from tests.layers.catalogue import CASES, Case

pytestmark = [pytest.mark.usefixtures("cuda"), pytest.mark.filterwarnings("ignore::RuntimeWarning")]


def _agrees(case: Case | Chain, phase: int = dragon.TRAIN) -> None:
    def made(text: str, engine: str) -> dragon.Net:
        return make(text, engine, phase, np.float64)

    for place in places(case):
        assert not faults(case, made, "cuda", place), place


@pytest.mark.parametrize("name", CASES)
def test_every_layer(name: str) -> None:
    _agrees(CASES[name])


@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST], ids=["train", "test"])
@pytest.mark.parametrize("name", CHAINS)
def test_fused(name: str, phase: int) -> None:
    _agrees(Chain(CHAINS[name]), phase)


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_at_ignored_labels_does_not_count(kind: str) -> None:
    check(kind, lambda text: make(text, "cuda"))
