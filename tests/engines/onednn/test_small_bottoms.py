"""Windows that are larger than their bottoms."""

from __future__ import annotations

import re

import numpy as np
import pytest

import dragon
from tests.engines.onednn.comparing import agree, make_net
from tests.engines.small_bottoms import CASES, pooled

pytestmark = pytest.mark.usefixtures("device")


@pytest.mark.parametrize("name", CASES)
def test_engines_agree(name: str) -> None:
    case = CASES[name]
    for phase in (dragon.TRAIN, dragon.TEST):
        agree(case.text(), phase=phase, values=case.values())


@pytest.mark.parametrize("name", [name for name in CASES if name[:3] in ("MAX", "AVE")])
def test_pooling_is_caffes(name: str) -> None:
    case = CASES[name]
    net = make_net(case.text(), "numpy", dragon.TEST, np.float64)
    x = case.values()["x0"]
    net.blobs["x0"].data[...] = x
    net.run_forward()
    kernel, stride, pad = (int(n) for n in re.findall(r"\d+", name)[:3])
    np.testing.assert_allclose(
        net.blobs["y0"].peek(), pooled(x, kernel, stride, pad, name.startswith("AVE")), atol=1e-12
    )


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("Convolution")])
def test_a_convolution_sees_zeros_behind_the_edge(name: str) -> None:
    case = CASES[name]
    net = make_net(case.text(), "numpy", dragon.TEST, np.float64)
    x = case.values()["x0"]
    net.blobs["x0"].data[...] = x
    net.run_forward()
    kernel, stride = (int(n) for n in re.findall(r"\d+", name)[:2])
    weight, bias = (blob.peek() for blob in net.params["one"])
    y = net.blobs["y0"].peek()
    wide = np.pad(x, [(0, 0), (0, 0), (0, kernel), (0, kernel)])
    for row, column in np.ndindex(y.shape[2:]):
        part = wide[:, :, row * stride : row * stride + kernel, column * stride : column * stride + kernel]
        np.testing.assert_allclose(y[:, :, row, column], np.einsum("nchw,ochw->no", part, weight) + bias, atol=1e-12)
    assert y.shape[2:] == tuple(max(0, n - kernel) // stride + 1 for n in x.shape[2:])
