"""Xception (Chollet 2016): depthwise and 1x1 convolutions in place of Inception's modules."""

from __future__ import annotations

from dragon.models.nets.body import SPLIT, XAVIER, Body
from dragon.models.nets.datasets import imagenet
from dragon.models.nets.model import Model, solver

__all__ = ["MODELS", "xception"]


def xception() -> Body:
    """Xception for images of 299 x 299: 12 residual modules of depthwise separable convolutions, and two of these."""
    b = Body(SPLIT, eps=1e-3, decays=(1, 0))
    b.conv("conv1", 32, 3, XAVIER, stride=2).bn("conv1_bn").relu("conv1_relu")
    b.conv("conv2", 64, 3, XAVIER).bn("conv2_bn").relu("conv2_relu")
    n = 64
    for k, (first, second, pad) in enumerate(((128, 128, 1), (256, 256, 0), (728, 728, 1)), 1):
        _halving(b, f"xception{k}", n, first, second, pad)
        n = second
    for k in range(4, 12):
        start = b.top
        b.add(f"xception{k}_relu", "ReLU")
        for j in (1, 2, 3):
            _separable(b, f"xception{k}_conv{j}", 728, 728)
            if j < 3:
                b.relu(f"xception{k}_conv{j}_relu")
        b.join(f"xception{k}_elewise", "Eltwise", (start, b.top))
    _halving(b, "xception12", 728, 728, 1024, 1)
    _separable(b, "conv3", 1024, 1536).relu("conv3_relu")
    _separable(b, "conv4", 1536, 2048).relu("conv4_relu")
    return b.global_pool("pool_ave").dropout("pool_drop", 0.5).ip("classifier", 1000, XAVIER)


def _separable(b: Body, name: str, inputs: int, n: int) -> Body:
    b.conv(f"{name}_1", inputs, 3, XAVIER, pad=1, group=inputs).conv(f"{name}_2", n, 1, XAVIER)
    return b.bn(f"{name}_bn")


def _halving(b: Body, name: str, inputs: int, first: int, second: int, pad: int) -> None:
    """A module with pooling, and a 1x1 convolution of stride 2 around it. pad: so that both have the same shape."""
    start = b.top
    shortcut = b.conv(f"{name}_match_conv", second, 1, XAVIER, stride=2).bn(f"{name}_match_conv_bn").top
    b.at(start)
    if name != "xception1":
        b.add(f"{name}_relu", "ReLU")
    _separable(b, f"{name}_conv1", inputs, first).relu(f"{name}_conv1_relu")
    _separable(b, f"{name}_conv2", first, second)
    b.pool(f"{name}_pool", "MAX", 3, 2, **({"pad": pad} if pad else {}))
    b.join(f"{name}_elewise", "Eltwise", (shortcut, b.top))


MODELS: dict[str, Model] = {
    "xception": Model(
        "Xception on ImageNet", imagenet(299, 32, values=(128, 128, 128), scale=1 / 128), xception,
        solver(
            4000000, 0.045, lr_policy="step", gamma=0.94, stepsize=80000, weight_decay=1e-5, test_iter=[1000],
            test_interval=10000, snapshot=40000, display=40, average_loss=40,
        ),
    ),
}  # fmt: skip
