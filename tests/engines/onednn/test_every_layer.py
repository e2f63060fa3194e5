"""Every layer type, with its options in their usual form, forward and backward, lowered or not."""

from __future__ import annotations

import numpy as np
import pytest

import dragon
from tests.engines.onednn.comparing import clear, compare, make_net, notes, set_output_diffs
from tests.layers.catalogue import CASES, Case

pytestmark = pytest.mark.usefixtures("device")


def _both(case: Case, engine: str, phase: int) -> tuple[dragon.Net, dragon.Net]:
    """Nets on the reference and on an engine, with the same inputs and parameters."""
    reference, other = make_net(case.text(), "numpy", phase, np.float64), make_net(case.text(), engine, phase)
    for name, value in case.values().items():
        for net in (reference, other):
            net.blobs[name].data[...] = value
    for name, blobs in other.params.items():
        for i, blob in enumerate(blobs):
            reference.params[name][i].data[...] = blob.data
    return reference, other


def _agree(case: Case, engine: str, phase: int) -> dragon.Net:
    """Forward and backward of both nets; the one on the engine."""
    nets = _both(case, engine, phase)
    losses = [net.run_forward() for net in nets]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4, abs=1e-5)
    compare(*nets, case.tolerance, diffs=False)
    set_output_diffs(nets, 0)
    clear(nets)
    for net in nets:
        net.run_backward()
    compare(*nets, case.tolerance)
    return nets[1]


@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST], ids=["train", "test"])
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_the_reference(name: str, phase: int) -> None:
    net = _agree(CASES[name], "onednn", phase)
    assert notes(net)["one"]
    net.close()
