"""Layers of public Caffe files, with the shapes of their blobs there: weights are found by the names of layers."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragon import TEST, Net
from dragon.proto.text import read_net

ROOT = Path(__file__).parents[2] / "models"
LAYERS: dict[str, dict[str, list[tuple[int, ...]]]] = {
    "resnet101": {
        "conv1": [(64, 3, 7, 7)],
        "scale_conv1": [(64,), (64,)],
        "res3b3_branch2b": [(128, 128, 3, 3)],
        "res4b22_branch2c": [(1024, 256, 1, 1)],
        "bn4b22_branch2c": [(1024,), (1024,), (1,)],
        "res5a_branch1": [(2048, 1024, 1, 1)],
        "fc1000": [(1000, 2048), (1000,)],
    },
    "resnet152": {"res3b7_branch2a": [(128, 512, 1, 1)], "scale4b35_branch2a": [(256,), (256,)]},
    "resnext50": {"resx4_match_conv": [(512, 256, 1, 1)], "resx16_conv2": [(1024, 32, 3, 3)]},
    "se_resnet50": {
        "conv1/7x7_s2/bn/scale": [(64,), (64,)],
        "conv2_1_1x1_down": [(16, 256, 1, 1), (16,)],
        "conv3_1_1x1_proj": [(512, 256, 1, 1)],
        "conv5_3_1x1_up": [(2048, 128, 1, 1), (2048,)],
        "classifier": [(1000, 2048), (1000,)],
    },
    "squeezenet_v1.0": {
        "conv1": [(96, 3, 7, 7), (96,)],
        "fire2/squeeze1x1": [(16, 96, 1, 1), (16,)],
        "fire9/expand3x3": [(256, 64, 3, 3), (256,)],
        "conv10": [(1000, 512, 1, 1), (1000,)],
    },
    "squeezenet_v1.1": {"conv1": [(64, 3, 3, 3), (64,)], "fire4/squeeze1x1": [(32, 128, 1, 1), (32,)]},
    "mobilenet_v1": {
        "conv5_6/dw": [(512, 1, 3, 3)],
        "conv5_6/dw/bn": [(512,), (512,), (1,)],
        "conv6/sep/scale": [(1024,), (1024,)],
        "fc7": [(1000, 1024, 1, 1), (1000,)],
    },
    "mobilenet_v2_shicai": {
        "conv2_1/expand": [(32, 32, 1, 1)],
        "conv2_2/dwise": [(96, 1, 3, 3)],
        "conv5_3/linear": [(160, 576, 1, 1)],
        "conv6_3/linear/scale": [(320,), (320,)],
        "conv6_4": [(1280, 320, 1, 1)],
        "fc7": [(1000, 1280, 1, 1), (1000,)],
    },
    "shufflenet_v1": {"resx2_conv1": [(60, 80, 1, 1)], "fc1000": [(1000, 960, 1, 1), (1000,)]},
    "shufflenet_v2": {"branch1_1_conv1": [(24, 1, 3, 3)], "branch5_1_conv2": [(116, 116, 1, 1)]},
    "densenet121": {
        "conv2_1/x1": [(128, 64, 1, 1)],
        "conv2_blk": [(128, 256, 1, 1)],
        "conv5_16/x2": [(32, 128, 3, 3)],
        "conv5_blk/scale": [(1024,), (1024,)],
        "fc6": [(1000, 1024, 1, 1), (1000,)],
    },
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_have_the_names_and_shapes_of_the_public_net(name: str) -> None:
    definition = read_net(ROOT / name / "deploy.prototxt")
    with Net(definition, TEST, engine="numpy", seed=1) as net:
        found = {key: [blob.shape for blob in net.params[key]] for key in LAYERS[name]}
        assert found == LAYERS[name]
