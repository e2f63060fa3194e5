"""DenseNet (Huang et al. 2016, arXiv 1608.06993), for ImageNet and CIFAR-10."""

from __future__ import annotations

from dataclasses import replace

from dragon.models.nets.body import MSRA, SPLIT, Body
from dragon.models.nets.datasets import CIFAR10_AUGMENTED, IMAGENET_SCALED
from dragon.models.nets.model import LONG, Model, solver

__all__ = ["MODELS", "densenet", "densenet40"]


def densenet(blocks: tuple[int, ...] = (6, 12, 24, 16), growth: int = 32) -> Body:
    """DenseNet for ImageNet with bottlenecks and compression (table 1), with the layer names of shicai's Caffe nets."""
    b = Body(SPLIT, lr=None)
    b.conv("conv1", 64, 7, MSRA, pad=3, stride=2).bn("conv1/bn").relu("relu1")
    b.pool("pool1", "MAX", pad=1, round_mode="FLOOR")
    width = 64
    for stage, count in enumerate(blocks, 2):
        for k in range(1, count + 1):
            start, name = b.top, f"{stage}_{k}"
            b.bn(f"conv{name}/x1/bn").relu(f"relu{name}/x1").conv(f"conv{name}/x1", 4 * growth, 1, MSRA)
            b.bn(f"conv{name}/x2/bn").relu(f"relu{name}/x2").conv(f"conv{name}/x2", growth, 3, MSRA, pad=1)
            b.join(f"concat_{name}", "Concat", (start, b.top))
        width += count * growth
        b.bn(f"conv{stage}_blk/bn").relu(f"relu{stage}_blk")
        if stage < len(blocks) + 1:
            width //= 2
            b.conv(f"conv{stage}_blk", width, 1, MSRA).pool(f"pool{stage}", "AVE", 2)
    return b.global_pool("pool5").conv("fc6", 1000, 1, MSRA, bias=True)


def densenet40(depth: int = 40, growth: int = 12) -> Body:
    """DenseNet for CIFAR-10: three blocks of 3x3 convolutions, neither bottlenecks nor compression (section 3)."""
    b = Body(SPLIT, lr=None)
    width, count = 16, (depth - 4) // 3
    b.conv("conv1", width, 3, MSRA, pad=1)
    for stage in (1, 2, 3):
        for k in range(1, count + 1):
            start, name = b.top, f"{stage}_{k}"
            b.bn(f"conv{name}/bn").relu(f"relu{name}").conv(f"conv{name}", growth, 3, MSRA, pad=1)
            b.join(f"concat_{name}", "Concat", (start, b.top))
        width += count * growth
        b.bn(f"conv{stage}_blk/bn").relu(f"relu{stage}_blk")
        if stage < 3:
            b.conv(f"conv{stage}_blk", width, 1, MSRA).pool(f"pool{stage}", "AVE", 2)
    return b.global_pool("pool3").ip("fc", 10, MSRA)


# ninety epochs in batches of 256, in eight parts; three hundred in batches of 64: section 4.2
_SOLVER = solver(
    450000, 0.1, (150000, 300000), type="Nesterov", weight_decay=1e-4, iter_size=8, test_iter=[1000],
    test_interval=5000, snapshot=10000,
)  # fmt: skip
_CIFAR_SOLVER = solver(234000, 0.1, (117000, 175500), type="Nesterov", weight_decay=1e-4, **LONG)

MODELS: dict[str, Model] = {
    "densenet121": Model("DenseNet-121 on ImageNet", IMAGENET_SCALED, densenet, _SOLVER),
    "densenet40_cifar10": Model(
        "DenseNet-40 (k = 12) on CIFAR-10", replace(CIFAR10_AUGMENTED, train=64), densenet40, _CIFAR_SOLVER
    ),
}
