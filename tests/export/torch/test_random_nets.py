"""Random nets of deployed nets' patterns as PyTorch modules, with gradients; DRAGON_EXPORT_NETS=500 for more.

These tests need PyTorch (`make test-peers`).
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from dragon.bases.layer import TEST
from dragon.export.torch.module import export
from tests.engines.onednn.deployed_nets import DeployedNet
from tests.export.torch.helpers import learned_gradients, make_net, run_source

torch = pytest.importorskip("torch")

NETS = int(os.environ.get("DRAGON_EXPORT_NETS", "20"))


@pytest.mark.parametrize("seed", range(NETS))
def test_random_net(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    net = make_net("force_backward: true\n" + DeployedNet(seed).text, TEST, seed)
    rng = np.random.default_rng(seed)
    for name in net.inputs:
        net.blobs[name].data[...] = rng.normal(size=net.blobs[name].shape)
    exported = export(net)
    module = run_source(exported).eval()
    found = module(*(torch.from_numpy(np.array(net.blobs[name].peek())) for name in net.inputs))
    outputs: dict[str, Any] = found if isinstance(found, dict) else {net.outputs[0]: found}
    net.forward()
    net.clear_param_diffs()
    total = torch.zeros((), dtype=torch.float64)
    for name, value in outputs.items():
        expected = net.blobs[name].peek()
        scale = float(np.abs(expected).max(initial=1e-30))
        np.testing.assert_allclose(value.detach().numpy() / scale, expected / scale, rtol=0, atol=1e-6, err_msg=name)
        dy = rng.normal(size=expected.shape)
        net.blobs[name].diff[...] = dy
        total = total + (value * torch.from_numpy(dy)).sum()
    wrong = "the gradient is wrong, as in Caffe" in caplog.text  # of layers in place
    if wrong or not total.requires_grad:
        return
    net.backward()
    total.backward()
    for key, gradient, expected in learned_gradients(module, exported):
        scale = float(np.abs(expected).max(initial=1e-3))
        np.testing.assert_allclose(gradient / scale, expected / scale, rtol=0, atol=1e-4, err_msg=key)
