"""The nets for ImageNet."""

from __future__ import annotations

from dragon.models.nets.body import MERGED, MSRA, PLAIN, SPLIT, Body, gaussian
from dragon.models.nets.datasets import IMAGENET, IMAGENET_128
from dragon.models.nets.model import Model, solver

__all__ = ["MODELS", "caffenet128", "resnet50"]


def resnet50() -> Body:
    """ResNet-50, with the layer names and strides of the published Caffe nets, so that their weights can be loaded."""
    b = Body(SPLIT, lr=None)
    b.conv("conv1", 64, 7, MSRA, bias=True, pad=3, stride=2).bn("bn_conv1").relu("conv1_relu").pool("pool1", "MAX")
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 2):
        for block in range(blocks):
            _bottleneck(b, f"{stage}{'abcdef'[block]}", width, block == 0, 2 if stage > 2 and block == 0 else 1)
    b.pool("pool5", "AVE", 7, 1)
    return b.ip("fc1000", 1000, MSRA)


def _bottleneck(b: Body, name: str, width: int, project: bool, stride: int) -> None:
    start = shortcut = b.top
    if project:
        b.conv(f"res{name}_branch1", 4 * width, 1, MSRA, stride=stride).bn(f"bn{name}_branch1")
        shortcut, b.top = b.top, start
    b.conv(f"res{name}_branch2a", width, 1, MSRA, stride=stride).bn(f"bn{name}_branch2a")
    b.relu(f"res{name}_branch2a_relu")
    b.conv(f"res{name}_branch2b", width, 3, MSRA, pad=1).bn(f"bn{name}_branch2b").relu(f"res{name}_branch2b_relu")
    b.conv(f"res{name}_branch2c", 4 * width, 1, MSRA).bn(f"bn{name}_branch2c")
    b.join(f"res{name}", "Eltwise", (shortcut, b.top)).relu(f"res{name}_relu")


def caffenet128(norm: str = PLAIN) -> Body:
    """CaffeNet for images of 128 x 128: no LRN, half the units in fc6 and fc7; with `norm` before each ReLU."""
    b = Body(norm)
    b.conv("conv1", 96, 11, MSRA, stride=4).bn("bn1").relu("relu1").pool("pool1", "MAX")
    b.conv("conv2", 256, 5, MSRA, pad=2, group=2).bn("bn2").relu("relu2").pool("pool2", "MAX")
    b.conv("conv3", 384, 3, MSRA, pad=1).bn("bn3").relu("relu3")
    b.conv("conv4", 384, 3, MSRA, pad=1, group=2).bn("bn4").relu("relu4")
    b.conv("conv5", 256, 3, MSRA, pad=1, group=2).bn("bn5").relu("relu5").pool("pool5", "MAX")
    for k in (6, 7):
        b.ip(f"fc{k}", 2048, MSRA, bias=norm == PLAIN).bn(f"bn{k}").relu(f"relu{k}").dropout(f"drop{k}")
    return b.ip("fc8", 1000, gaussian(0.01))


_CAFFENET128 = solver(
    320000, 0.01, (100000, 200000, 300000), weight_decay=5e-4, test_iter=[200], test_interval=1000, snapshot=10000
)

MODELS: dict[str, Model] = {
    "resnet50": Model(
        "ResNet-50 on ImageNet", IMAGENET, resnet50,
        solver(
            600000, 0.1, (150000, 300000, 450000), weight_decay=1e-4, iter_size=8, test_iter=[1000],
            test_interval=5000, snapshot=10000,
        ),
    ),
    "caffenet128": Model("CaffeNet for images of 128 x 128", IMAGENET_128, caffenet128, _CAFFENET128),
    "caffenet128_bn": Model(
        "CaffeNet with BN for images of 128 x 128", IMAGENET_128, lambda: caffenet128(MERGED), _CAFFENET128
    ),
}  # fmt: skip
