"""The mask of a maximum pooling: ties, cut windows, padding, layouts, NaN, and the layer that reads it."""

from __future__ import annotations

import numpy as np
import pytest

import dragon
from tests.engines.onednn.comparing import agree, conv, fill, inputs, make_net, notes

pytestmark = pytest.mark.usefixtures("device")

WINDOWS = {
    "whole windows": ((2, 5, 8, 6), "kernel_size: 2 stride: 2"),
    "cut windows": ((2, 5, 7, 5), "kernel_size: 3 stride: 2"),
    "padding": ((2, 5, 7, 5), "kernel_size: 3 stride: 2 pad: 1"),
    "one axis": ((2, 5, 9), "kernel_size: 3 stride: 2"),
    "three axes": ((2, 3, 4, 5, 6), "kernel_size: 2 stride: 2"),
    "all": ((2, 5, 7, 5), "global_pooling: true"),
}


def pooling(settings: str, bottom: str = "x0") -> str:
    param = f"pooling_param {{ pool: MAX {settings} }}"
    return f'layer {{ name: "p" type: "Pooling" bottom: "{bottom}" top: "y" top: "mask" {param} }}\n'


@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST])
@pytest.mark.parametrize("name", WINDOWS)
def test_windows(name: str, phase: int) -> None:
    shape, settings = WINDOWS[name]
    net = agree(inputs(shape) + pooling(settings), phase=phase, passes=2)
    assert notes(net)["p"].startswith("onednn")


@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST])
def test_the_first_of_equal_values(phase: int) -> None:
    ties = {"x0": np.random.default_rng(0).integers(0, 3, (2, 5, 9, 9)).astype(np.float32)}
    agree(inputs((2, 5, 9, 9)) + pooling("kernel_size: 3 stride: 2 pad: 1"), phase=phase, values=ties)


@pytest.mark.parametrize("channels", [16, 21])
@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST])
def test_between_layers(channels: int, phase: int) -> None:
    """In the layouts that a convolution prefers, behind a ReLU, and read by the layer that undoes the pooling."""
    relu = 'layer { name: "r" type: "ReLU" bottom: "c" top: "c" }\n'
    up = 'layer { name: "u" type: "Upsample" bottom: "y" bottom: "mask" top: "u" upsample_param { scale: 2 } }\n'
    body = conv("c", "x0", channels) + relu + pooling("kernel_size: 2 stride: 2", "c") + up + conv("d", "u", 4)
    for images in (1, 3):
        agree(inputs((images, 8, 12, 10)) + body, phase=phase, passes=2, tolerance=5e-5)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_nan() -> None:
    text = inputs((2, 4, 6, 6)) + pooling("kernel_size: 2 stride: 2")
    nets = make_net(text, "numpy"), make_net(text, "onednn")
    fill(nets, 0)
    for net in nets:
        net.blobs["x0"].data[1, 2, 3, 3] = np.nan
        net.run_forward()
    for blob in ("y", "mask"):
        np.testing.assert_array_equal(nets[1].blobs[blob].data, nets[0].blobs[blob].data)
