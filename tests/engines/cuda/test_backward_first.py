"""Backward of a net whose forward has not run, and the diffs of parameters that nothing learns."""

from __future__ import annotations

import numpy as np
import pytest

import dragon
from tests.engines.backward_first import BY_TOP, LEARNING, backward_agrees, frozen_text
from tests.engines.cuda.running import make
from tests.layers.catalogue import CASES

pytestmark = pytest.mark.usefixtures("cuda")


def _make(text: str, engine: str) -> dragon.Net:
    return make(text, engine, dtype=np.float64)


@pytest.mark.parametrize("name", [name for name in CASES if name not in BY_TOP])
def test_backward_without_forward(name: str) -> None:
    backward_agrees(name, _make, "cuda", 1e-9)


@pytest.mark.parametrize("name", LEARNING)
def test_frozen_parameters_have_no_gradient(name: str) -> None:
    case = CASES[name]
    layer = _make(case.text(), "numpy").nodes[-1].layer
    if not layer.blobs or len(layer.blobs) == len(layer.buffers) or case.inputs[:1] == ("labels",):
        pytest.skip("nothing to freeze, or no gradient through it")
    net = _make(frozen_text(case, len(layer.blobs)), "cuda")
    for blob, value in case.values().items():
        net.blobs[blob].data[...] = value
    net.run_forward()
    net.run_backward()
    frozen = net.nodes[net.layer_index("one")].layer
    assert not any(blob.peek_diff().any() for i, blob in enumerate(frozen.blobs) if i not in frozen.buffers)
