"""Random nets of deployed nets' patterns in ONNX Runtime, also with another batch; DRAGON_EXPORT_NETS=500 for more."""

from __future__ import annotations

import os

import numpy as np
import pytest

from dragon.bases.layer import TEST
from dragon.errors import ShapeError, UsageError
from dragon.export.onnx.file import check
from dragon.export.onnx.model import model_of, output_names
from tests.engines.onednn.deployed_nets import DeployedNet
from tests.export.onnx.helpers import reference, run_onnx
from tests.export.torch.helpers import make_net

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

NETS = int(os.environ.get("DRAGON_EXPORT_NETS", "20"))


@pytest.mark.parametrize("seed", range(NETS))
def test_random_net(seed: int) -> None:
    net = make_net(DeployedNet(seed).text, TEST, seed)
    rng = np.random.default_rng(seed)
    inputs = {name: rng.normal(size=net.blobs[name].shape) for name in net.inputs}
    batches = [inputs]
    try:
        model = model_of(net, dynamic_batch=seed % 2 == 0)
    except (ShapeError, UsageError) as error:  # a layer that puts items together
        if seed % 2 or "batch" not in str(error):
            raise
        model = model_of(net)
    else:
        if seed % 2 == 0:
            batch = net.blobs[net.inputs[0]].shape[0]
            twice = {name: np.concatenate([value, -value]) for name, value in inputs.items() if len(value) == batch}
            batches.append(inputs | twice)
    check(model)
    names = output_names(net)
    for given in batches:
        found = run_onnx(model, given)
        for name, value in reference(net, given).items():
            scale = float(np.abs(value).max(initial=1e-30))
            assert found[names[name]].shape == value.shape
            np.testing.assert_allclose(found[names[name]] / scale, value / scale, rtol=0, atol=1e-4, err_msg=name)
