"""ShuffleNet 1 and 2 for ImageNet, with the layer names of public Caffe nets (farmingyard's)."""

from __future__ import annotations

from dragon.models.nets.body import MSRA, SPLIT, Body, same
from dragon.models.nets.datasets import IMAGENET_SCALED
from dragon.models.nets.model import Model, solver

__all__ = ["MODELS", "shufflenet_v1", "shufflenet_v2"]

_REPEATS = (4, 8, 4)  # units of the three stages, the first of each with stride 2


def _conv(b: Body, name: str, n: int, kernel: int = 1, stride: int = 1, group: int = 1, relu: bool = False) -> Body:
    b.conv(name, n, kernel, MSRA, **same(kernel, stride, group)).bn(f"{name}_bn")
    return b.relu(f"{name}_relu") if relu else b


def _shuffle(b: Body, number: int, groups: int) -> None:
    b.add(f"shuffle{number}", "ShuffleChannel", shuffle_channel_param={"group": groups})


def _start() -> Body:
    b = Body(SPLIT, lr=None)
    return _conv(b, "conv1", 24, 3, 2, relu=True).pool("pool1", "MAX")


def _end(b: Body) -> Body:
    return b.global_pool("pool_ave").conv("fc1000", 1000, 1, MSRA, bias=True)


def shufflenet_v1(groups: int = 3, channels: tuple[int, ...] = (240, 480, 960)) -> Body:
    """ShuffleNet 1x (Zhang et al. 2017, arXiv 1707.01083, table 1): pointwise convolutions in groups, and a shuffle.

    A unit with stride 2 gives its averaged input beside what it computes. Inner channels are a quarter of the outputs.
    """
    b, number, width = _start(), 0, 24
    for outputs, count in zip(channels, _REPEATS, strict=True):
        for k in range(count):
            number += 1
            name, start = f"resx{number}", b.top
            made = outputs if k else outputs - width
            inner, group = outputs // 4, groups if number > 1 else 1
            shortcut = start if k else b.pool(f"{name}_match_conv", "AVE").top
            _conv(b.at(start), f"{name}_conv1", inner, group=group, relu=True)
            if group > 1:
                _shuffle(b, number, groups)
            _conv(b, f"{name}_conv2", inner, 3, 1 if k else 2, inner)
            _conv(b, f"{name}_conv3", made, group=groups)
            end = f"{name}_elewise" if k else f"{name}_concat"
            b.join(end, "Eltwise" if k else "Concat", (shortcut, b.top)).relu(f"{end}_relu")
            width = outputs
    return _end(b)


def shufflenet_v2(channels: tuple[int, ...] = (116, 232, 464), last: int = 1024) -> Body:
    """ShuffleNetV2 1x (Ma et al. 2018, arXiv 1807.11164, table 5): half of the channels pass a unit unchanged."""
    b, number, width = _start(), 0, 24
    for outputs, count in zip(channels, _REPEATS, strict=True):
        half = outputs // 2
        for k in range(count):
            number += 1
            one, two, start = f"branch{number}_1", f"branch{number}_2", b.top
            if k:
                b.slice(f"slice{number}", (one, two), half)
                left = one
                b.at(two)
            else:
                _conv(b, f"{one}_conv1", width, 3, 2, width)
                left = _conv(b, f"{one}_conv2", half, relu=True).top
                b.at(start)
            _conv(b, f"{two}_conv1", half, relu=True)
            _conv(b, f"{two}_conv2", half, 3, 1 if k else 2, half)
            _conv(b, f"{two}_conv3", half, relu=True)
            b.join(f"concat{number}", "Concat", (left, b.top))
            _shuffle(b, number, 2)
            width = outputs
    return _end(_conv(b, "conv5", last, relu=True))


# batches of 1024 in 32 parts, the rate falls along a line from 0.5 to 0 (section 4 of both papers)
_SOLVER = solver(
    300000, 0.5, lr_policy="poly", power=1.0, weight_decay=4e-5, iter_size=32, test_iter=[1000], test_interval=2500,
    snapshot=2500,
)  # fmt: skip

MODELS: dict[str, Model] = {
    "shufflenet_v1": Model("ShuffleNet 1x with three groups on ImageNet", IMAGENET_SCALED, shufflenet_v1, _SOLVER),
    "shufflenet_v2": Model("ShuffleNetV2 1x on ImageNet", IMAGENET_SCALED, shufflenet_v2, _SOLVER),
}
