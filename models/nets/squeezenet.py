"""SqueezeNet for ImageNet (Iandola et al. 2016, arXiv 1602.07360), with the layer names of the authors' Caffe nets."""

from __future__ import annotations

from functools import partial

from dragon.models.nets.body import XAVIER, Body, gaussian
from dragon.models.nets.datasets import imagenet
from dragon.models.nets.model import Model, solver

__all__ = ["MODELS", "squeezenet"]

_FIRST, _LAST = 2, 9  # numbers of the fire modules


def squeezenet(first: int, kernel: int, pools: tuple[int, ...], last_pad: int = 0) -> Body:
    """SqueezeNet whose conv1 has `first` outputs and this kernel, with a pooling behind each layer of these numbers.

    last_pad: the padding of conv10, which adds a border of biases to what is averaged.
    """
    b = Body(lr=None)
    b.conv("conv1", first, kernel, XAVIER, stride=2).relu("relu_conv1").pool("pool1", "MAX")
    for number in range(_FIRST, _LAST + 1):
        narrow = 16 * (number // 2)
        _fire(b, f"fire{number}", narrow, 4 * narrow)
        if number in pools:
            b.pool(f"pool{number}", "MAX")
    b.dropout("drop9")
    b.conv("conv10", 1000, 1, gaussian(0.01), **({"pad": last_pad} if last_pad else {})).relu("relu_conv10")
    return b.global_pool("pool10")


def _fire(b: Body, name: str, narrow: int, wide: int) -> None:
    squeezed = b.conv(f"{name}/squeeze1x1", narrow, 1, XAVIER).relu(f"{name}/relu_squeeze1x1").top
    ones = b.conv(f"{name}/expand1x1", wide, 1, XAVIER).relu(f"{name}/relu_expand1x1").top
    threes = b.at(squeezed).conv(f"{name}/expand3x3", wide, 3, XAVIER, pad=1).relu(f"{name}/relu_expand3x3").top
    b.join(f"{name}/concat", "Concat", (ones, threes))


_DATA = imagenet(227, 32, values=(104, 117, 123))
# batches of 512 in sixteen parts, the rate falls along a line
_SOLVER = solver(
    170000, 0.04, lr_policy="poly", power=1.0, weight_decay=2e-4, iter_size=16, test_iter=[1000], test_interval=1000,
    snapshot=1000, average_loss=40,
)  # fmt: skip

MODELS: dict[str, Model] = {
    "squeezenet_v1.0": Model(
        "SqueezeNet 1.0 on ImageNet", _DATA, partial(squeezenet, 96, 7, (4, 8), last_pad=1), _SOLVER
    ),
    "squeezenet_v1.1": Model("SqueezeNet 1.1 on ImageNet", _DATA, partial(squeezenet, 64, 3, (3, 5)), _SOLVER),
}
