"""A step of training computes no blob that a fused chain skips."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.memory.storage import HOST
from tests.engines.nonfinite import CHAINS, Chain
from tests.engines.onednn.comparing import fill, make_net, set_output_diffs

SKIPPING = [name for name in CHAINS if name.startswith("convolution") and "ReLU, pooling" in name]


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("name", SKIPPING)
def test_skipped_blobs_are_computed_when_they_are_read_and_not_before(name: str) -> None:
    text = Chain(CHAINS[name]).text()
    nets = make_net(text, "numpy", dtype=np.float64), make_net(text, "onednn")
    fill(nets, 0)
    for net in nets:
        net.run_forward()
    set_output_diffs(nets, 0)
    for net in nets:
        net.run_backward()
    plan = nets[1].executor.plans.plan(True)  # type: ignore[attr-defined]
    skipped = {storage for group in plan.groups for storage, _ in group.forward.lazy}
    blobs = {name: blob for name, blob in nets[1].blobs.items() if blob.data_storage in skipped}
    assert blobs
    assert not [name for name, blob in blobs.items() if blob.data_storage.is_fresh(HOST)]
    for name, blob in blobs.items():
        np.testing.assert_allclose(blob.peek(), nets[0].blobs[name].peek(), atol=2e-5)
