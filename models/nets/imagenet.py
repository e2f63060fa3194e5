"""The nets for ImageNet."""

from __future__ import annotations

from dragon.models.nets.body import MERGED, MSRA, PLAIN, Body, gaussian
from dragon.models.nets.datasets import IMAGENET_128
from dragon.models.nets.model import Model, solver

__all__ = ["MODELS", "caffenet128"]


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
    "caffenet128": Model("CaffeNet for images of 128 x 128", IMAGENET_128, caffenet128, _CAFFENET128),
    "caffenet128_bn": Model(
        "CaffeNet with BN for images of 128 x 128", IMAGENET_128, lambda: caffenet128(MERGED), _CAFFENET128
    ),
}  # fmt: skip
