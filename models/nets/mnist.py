"""The nets for MNIST."""

from __future__ import annotations

from dragon.models.nets.body import MERGED, MSRA, PLAIN, XAVIER, Body, gaussian
from dragon.models.nets.datasets import MNIST, MNIST_60, MNIST_1000
from dragon.models.nets.model import LONG, Model, solver

__all__ = ["MODELS", "deep_relu", "lenet", "sigmoid_3x100"]


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


_MNIST_SIGMOID = solver(50000, 0.1, momentum=0, weight_decay=0, **LONG)
_DEEP_RELU = solver(1000, 0.01, momentum=0, weight_decay=0, test_iter=[10], test_interval=100)

MODELS: dict[str, Model] = {
    "lenet": Model(
        "LeNet on MNIST", MNIST, lenet,
        solver(10000, 0.01, lr_policy="inv", gamma=1e-4, power=0.75, weight_decay=5e-4, snapshot=5000),
    ),
    "mnist_sigmoid_3x100": Model("Three layers of sigmoids on MNIST", MNIST_60, sigmoid_3x100, _MNIST_SIGMOID),
    "mnist_sigmoid_3x100_bn": Model(
        "Three layers of sigmoids with BN on MNIST", MNIST_60, lambda: sigmoid_3x100(MERGED), _MNIST_SIGMOID
    ),
    "deep_relu": Model("Forty layers of ReLUs on MNIST", MNIST_1000, deep_relu, _DEEP_RELU),
    "deep_relu_bn": Model("Forty layers of ReLUs with BN on MNIST", MNIST_1000, lambda: deep_relu(MERGED), _DEEP_RELU),
}  # fmt: skip
