"""LRN over channels: what a value does outside of its window, whatever its size and the layout."""

from __future__ import annotations

import numpy as np
import pytest

import dragon
from tests.engines.onednn.comparing import make_net

pytestmark = pytest.mark.usefixtures("device")


def _net(channels: int, size: int, engine: str, phase: int) -> dragon.Net:
    dims = f"dim: 2 dim: {channels} dim: {size} dim: {size}"
    text = f'layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }}\n'
    norm = 'layer { name: "n" type: "LRN" bottom: "x" top: "y" lrn_param { local_size: 5 alpha: 0.5 } }'
    return make_net(text + norm, engine, phase)


@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST])
@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("channels", [5, 16, 24])
@pytest.mark.parametrize("value", [1e3, 1e6, 1e20, np.inf, np.nan])
def test_a_value_reaches_the_channels_of_its_window_only(value: float, channels: int, size: int, phase: int) -> None:
    net, reference = (_net(channels, size, engine, phase) for engine in ("onednn", "numpy"))
    x = np.random.default_rng(0).standard_normal((2, channels, size, size))
    x[1, 1, 0, 0] = value
    for each in (net, reference):
        each.blobs["x"].data[...] = x
        with np.errstate(all="ignore"):
            each.run_forward()
    found, expected = (each.blobs["y"].peek() for each in (net, reference))
    assert np.isfinite(found[1, 4:]).all()
    np.testing.assert_allclose(found[1, 4:], expected[1, 4:], rtol=1e-5)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
