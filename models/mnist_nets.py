"""The nets for MNIST."""

from __future__ import annotations

from dragon.models.body import MSRA, PLAIN, XAVIER, Body, gaussian

__all__ = ["deep_relu", "lenet", "sigmoid_3x100"]


def lenet() -> Body:
    """LeNet for MNIST."""
    b = Body()
    b.conv("conv1", 20, 5, XAVIER).pool("pool1", "MAX", 2)
    b.conv("conv2", 50, 5, XAVIER).pool("pool2", "MAX", 2)
    return b.ip("ip1", 500, XAVIER).relu("relu1").ip("ip2", 10, XAVIER)


def sigmoid_3x100(norm: str = PLAIN) -> Body:
    """Three hidden layers of 100 sigmoids (Ioffe & Szegedy 2015, section 4.1), with `norm` before each sigmoid."""
    b = Body(norm, lr=None)
    for k in (1, 2, 3):
        b.ip(f"ip{k}", 100, gaussian(0.1), bias=norm == PLAIN).bn(f"bn{k}").sigmoid(f"sigmoid{k}")
    return b.ip("ip4", 10, gaussian(0.1))


def deep_relu(norm: str = PLAIN, depth: int = 40, width: int = 100) -> Body:
    """`depth` hidden layers of `width` ReLUs, with `norm` before each ReLU (Yang et al. 2019)."""
    b = Body(norm, lr=None)
    for k in range(1, depth + 1):
        b.ip(f"ip{k}", width, MSRA, bias=norm == PLAIN).bn(f"bn{k}").relu(f"relu{k}")
    return b.ip(f"ip{depth + 1}", 10, MSRA)
