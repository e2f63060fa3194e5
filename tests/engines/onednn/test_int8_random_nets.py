"""Random small nets in int8 on oneDNN agree with the NumPy engine, fused and not.

ONEDNN_RANDOM_NETS=N tries N nets.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import dragon
from dragon.engines.int8.table import products
from dragon.engines.onednn.library.device import Device
from dragon.errors import NumericError
from dragon.surgery.calibrate import calibrate
from tests.engines.onednn.comparing import LEAST, fill, make_net
from tests.engines.onednn.random_nets import RandomNet

COUNT = int(os.environ.get("ONEDNN_RANDOM_NETS", "60"))
TOLERANCE = 1e-2  # a value beside a tie may be rounded otherwise, and layers behind it may make more of that


def outputs(net: dragon.Net) -> dict[str, NDArray[Any]]:
    for layer in net.layers:
        layer.rng.draws = 0
    net.run_forward()
    return {name: net.blobs[name].peek() for name in net.outputs}


@pytest.mark.parametrize("seed", range(COUNT))
def test_random_nets(seed: int, device: Device) -> None:
    if not device.has_vnni:
        pytest.skip("weights have 7 bits here")
    random = RandomNet(seed)
    values = {"x1": random.labels()}
    plain = make_net(random.text, "numpy", dragon.TEST)
    fill((plain,), 1, values)
    if not products(plain):
        pytest.skip("no convolution or inner product")
    try:
        ranges = calibrate(plain, 1)
    except NumericError:
        pytest.skip("not finite")
    options: dict[str, Any] = {"precision": "int8", "calibration": ranges}
    nets = [make_net(random.text, engine, dragon.TEST, **options) for engine in ("numpy", "onednn")]
    nets.append(make_net(random.text, "onednn", dragon.TEST, fuse=False, **options))
    fill(tuple(nets), 1, values)
    expected, *found = map(outputs, nets)
    for name, value in expected.items():
        largest = max(LEAST, np.abs(value).max(initial=0))
        for other in found:
            np.testing.assert_allclose(other[name] / largest, value / largest, rtol=0, atol=TOLERANCE, err_msg=name)
