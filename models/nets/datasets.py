"""The data sets of the zoo's nets, as `dragon data` or `convert_imageset` write them, with their preparation."""

from __future__ import annotations

from typing import Any

from dragon.models.nets.model import Data, Pictures

__all__ = [
    "CIFAR10", "CIFAR10_AUGMENTED", "CIFAR10_MIRRORED", "CIFAR10_SCALED", "FLICKR_STYLE", "ILSVRC13_WINDOWS",
    "IMAGENET", "IMAGENET_128", "IMAGENET_SCALED", "MNIST", "MNIST_60", "MNIST_1000", "imagenet",
]  # fmt: skip


def imagenet(side: int, train: int, test: int = 50, **preparation: Any) -> Data:
    """ImageNet cropped to `side` pixels in batches of `train` and `test`; mirrored, the mean image subtracted.

    preparation: other fields of Data, such as the means of the channels, `values`, or `scale`.
    """
    settings: dict[str, Any] = {"mirror": True, "crop": side} | preparation
    return Data("data/imagenet", "imagenet", (3, side, side), train=train, test=test, **settings)


MNIST = Data("data/mnist", "mnist", (1, 28, 28), train=64, mean=False, scale=1 / 256)
MNIST_60 = Data("data/mnist", "mnist", (1, 28, 28), train=60, mean=False, scale=1 / 256)
MNIST_1000 = Data("data/mnist", "mnist", (1, 28, 28), train=1000, mean=False, scale=1 / 256)

CIFAR10 = Data("data/cifar10", "cifar10", (3, 32, 32))
CIFAR10_SCALED = Data("data/cifar10", "cifar10", (3, 32, 32), train=128, scale=1 / 128)
CIFAR10_MIRRORED = Data("data/cifar10", "cifar10", (3, 32, 32), train=128, scale=1 / 128, mirror=True)

# the usual recipe: four zeros on each side, a random window, mirrored (He et al. 2015, section 4.2)
CIFAR10_AUGMENTED = Data(
    "data/cifar10", "cifar10", (3, 32, 32), train=128, scale=1 / 128, mirror=True, crop=32, pad=4, shuffle=True
)

IMAGENET = imagenet(224, 32, values=(104, 117, 123))
# as the public weights of MobileNet, ShuffleNet and DenseNet take it
IMAGENET_SCALED = imagenet(224, 32, values=(103.94, 116.78, 123.68), scale=0.017)
IMAGENET_128 = Data(
    "data/imagenet128",
    "imagenet",
    (3, 128, 128),
    train=256,
    test=250,
    values=(104, 117, 123),
    scale=0.04,
    mirror=True,
    crop=128,
)

FLICKR_STYLE = Pictures("data/flickr_style", (3, 227, 227), 50, side=256, mean_file="data/imagenet/mean.binaryproto")
ILSVRC13_WINDOWS = Data("data/ilsvrc13_windows", "windows", (3, 227, 227), train=128, test=50, mirror=True, crop=227)
