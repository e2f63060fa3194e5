"""The nets of Simonyan & Zisserman 2015 for ImageNet, without and with batch normalisation."""

from __future__ import annotations

from typing import Any

from dragon.models.nets.body import GLOROT, MSRA, PLAIN, SPLIT, Body, gaussian
from dragon.models.nets.datasets import imagenet
from dragon.models.nets.model import Model, solver

__all__ = ["MODELS", "STAGES", "conv_bn_relu", "features", "vgg"]

# outputs and count of the convolutions of each stage, by the depth of the net
STAGES = {16: ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 19: ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))}


def features(
    b: Body, depth: int = 16, filler: dict[str, Any] = GLOROT, stages: int = 5, pad: int = 1, last_pool: bool = True
) -> Body:
    """Add the convolutions conv1_1 to conv5_3 (conv5_4), which many nets for other tasks begin with.

    stages: how many of the five. pad: of the first convolution. last_pool: whether the last stage ends with a pooling.
    """
    for stage, (width, convolutions) in enumerate(STAGES[depth][:stages], 1):
        for k in range(1, convolutions + 1):
            conv_bn_relu(b, f"{stage}_{k}", width, filler, pad)
            pad = 1
        if stage < stages or last_pool:
            b.pool(f"pool{stage}", "MAX", 2)
    return b


def conv_bn_relu(b: Body, name: str, width: int, filler: dict[str, Any], pad: int = 1) -> None:
    """Add a 3x3 convolution with a bias, batch normalisation in the body's form, and a ReLU. name: such as 1_1."""
    b.conv(f"conv{name}", width, 3, filler, bias=True, pad=pad).bn(f"conv{name}_bn").relu(f"relu{name}")


def vgg(depth: int, norm: str = PLAIN) -> Body:
    """The net with 16 or 19 layers that learn, with `norm` between each convolution and its ReLU.

    Layers have the names of the published Caffe files. The convolutions keep their biases beside normalisation, as in
    the published nets of that kind.
    """
    b = features(Body(norm, decays=(1, 0)), depth, GLOROT if norm == PLAIN else MSRA)
    for k in (6, 7):
        b.ip(f"fc{k}", 4096, gaussian(0.005)).relu(f"relu{k}").dropout(f"drop{k}")
    return b.ip("fc8", 1000, gaussian(0.01))


_DATA = imagenet(224, 32, values=(103.939, 116.779, 123.68))
_SOLVER = solver(
    370000, 0.01, (110000, 220000, 330000), weight_decay=5e-4, iter_size=8, test_iter=[1000], test_interval=5000,
    snapshot=10000, display=20,
)  # fmt: skip

MODELS: dict[str, Model] = {
    "vgg16": Model("VGG-16 on ImageNet", _DATA, lambda: vgg(16), _SOLVER),
    "vgg19": Model("VGG-19 on ImageNet", _DATA, lambda: vgg(19), _SOLVER),
    "vgg16_bn": Model("VGG-16 with BatchNorm and Scale on ImageNet", _DATA, lambda: vgg(16, SPLIT), _SOLVER),
    "vgg19_bn": Model("VGG-19 with BatchNorm and Scale on ImageNet", _DATA, lambda: vgg(19, SPLIT), _SOLVER),
}
