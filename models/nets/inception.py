"""Inception-v3 (Szegedy et al. 2015), Inception-v4 and Inception-ResNet-v2 (Szegedy et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dragon.models.nets.body import SPLIT, XAVIER, Body
from dragon.models.nets.datasets import imagenet
from dragon.models.nets.model import Model, solver

__all__ = ["MODELS", "inception_resnet_v2", "inception_v3", "inception_v4"]

# A step of a branch: a name, outputs, kernel (one number, or height and width) and stride; stride 2 is without padding.
# With MAX or AVE in place of outputs it is a 3x3 pooling.
_Step = tuple[Any, ...]
_Branch = Sequence[_Step]


def _body() -> Body:
    return Body(SPLIT, eps=1e-3, lr=(1, 2), decays=(1, 0))


def _conv(b: Body, name: str, n: int, kernel: int | tuple[int, int], stride: int = 1, valid: bool = False) -> Body:
    """A convolution without bias, batch normalisation and a ReLU. valid: without padding."""
    height, width = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    pad: dict[str, Any] = {}
    if not valid and stride == 1 and height * width > 1:
        pad = {"pad": height // 2 if height == width else (height // 2, width // 2)}
    b.conv(name, n, kernel, XAVIER, bias=False, **pad, **({} if stride == 1 else {"stride": stride}))
    return b.bn(f"{name}_bn", scale=f"{name}_scale").relu(f"{name}_relu")


def _walk(b: Body, place: str, branch: _Branch) -> str:
    for name, what, *more in branch:
        if isinstance(what, str):
            (stride,) = more
            b.pool(f"{place}_{name}", what, 3, stride, **({"pad": 1} if stride == 1 else {}))
        else:
            _conv(b, f"{place}_{name}", what, *more)
    return b.top


def _module(b: Body, place: str, branches: Sequence[_Branch], end: str = "concat") -> Body:
    """Branches that begin at the same blob, one after another, and the concatenation of their tops."""
    start = b.top
    return b.join(f"{place}_{end}", "Concat", [_walk(b.at(start), place, branch) for branch in branches])


def _stem(b: Body) -> Body:
    """The first layers of Inception-v3 and Inception-ResNet-v2: 192 channels of 35 x 35."""
    _conv(b, "conv1_3x3_s2", 32, 3, 2)
    _conv(b, "conv2_3x3_s1", 32, 3, valid=True)
    _conv(b, "conv3_3x3_s1", 64, 3).pool("pool1_3x3_s2", "MAX")
    _conv(b, "conv4_3x3_reduce", 80, 1)
    return _conv(b, "conv4_3x3", 192, 3, valid=True).pool("pool2_3x3_s2", "MAX")


def _classify(b: Body, dropout: float) -> Body:
    return b.global_pool("pool_ave").dropout("pool_drop", dropout).ip("classifier", 1000, XAVIER)


def _v3_a(project: int) -> list[_Branch]:
    return [
        [("1x1", 64, 1)],
        [("5x5_reduce", 48, 1), ("5x5", 64, 5)],
        [("3x3_reduce", 64, 1), ("3x3_1", 96, 3), ("3x3_2", 96, 3)],
        [("pool", "AVE", 1), ("pool_proj", project, 1)],
    ]


def _v3_b(n: int) -> list[_Branch]:
    return [
        [("1x1", 192, 1)],
        [("1x7_reduce", n, 1), ("1x7", n, (1, 7)), ("7x1", 192, (7, 1))],
        [
            ("7x1_reduce", n, 1), ("7x1_2", n, (7, 1)), ("1x7_2", n, (1, 7)), ("7x1_3", n, (7, 1)),
            ("1x7_3", 192, (1, 7)),
        ],
        [("pool", "AVE", 1), ("pool_proj", 192, 1)],
    ]  # fmt: skip


def inception_v3() -> Body:
    """Inception-v3 for images of 299 x 299, with an auxiliary classifier that only training uses."""
    b = _stem(_body())
    for k, project in enumerate((32, 64, 64), 1):
        _module(b, f"inception_a{k}", _v3_a(project), "output")
    _module(
        b, "reduction_a",
        [[("3x3", 384, 3, 2)], [("3x3_2_reduce", 64, 1), ("3x3_2", 96, 3), ("3x3_3", 96, 3, 2)], [("pool", "MAX", 2)]],
    )  # fmt: skip
    for k, n in enumerate((128, 160, 160, 192), 1):
        _module(b, f"inception_b{k}", _v3_b(n))
    with b.only_training():
        _auxiliary(b)
    _module(
        b, "reduction_b",
        [
            [("3x3_reduce", 192, 1), ("3x3", 320, 3, 2)],
            [("1x7_reduce", 192, 1), ("1x7", 192, (1, 7)), ("7x1", 192, (7, 1)), ("3x3_2", 192, 3, 2)],
            [("pool", "MAX", 2)],
        ],
    )  # fmt: skip
    for k in (1, 2):
        _v3_c(b, f"inception_c{k}")
    return _classify(b, 0.2)


def _fork(b: Body, place: str, steps: _Branch, n: int, ending: str) -> list[str]:
    """A branch that ends in a 1x3 and a 3x1 convolution side by side; their tops."""
    split = _walk(b, place, steps)
    return [
        _conv(b.at(split), f"{place}_{name}{ending}", n, kernel).top
        for name, kernel in (("1x3", (1, 3)), ("3x1", (3, 1)))
    ]


def _v3_c(b: Body, place: str) -> None:
    start = b.top
    tops = [_walk(b, place, [("1x1", 320, 1)])]
    tops += _fork(b.at(start), place, [("3x3_reduce", 384, 1)], 384, "")
    tops += _fork(b.at(start), place, [("3x3_2_reduce", 448, 1), ("3x3_2", 384, 3)], 384, "_2")
    tops.append(_walk(b.at(start), place, [("pool", "AVE", 1), ("pool_proj", 192, 1)]))
    b.join(f"{place}_concat", "Concat", tops)


def _auxiliary(b: Body) -> None:
    b.pool("aux_pool", "AVE", 5, 3)
    _conv(b, "aux_1x1", 128, 1)
    _conv(b, "aux_5x5", 768, 5, valid=True).ip("aux_classifier", 1000, XAVIER)
    b.join("aux_loss", "SoftmaxWithLoss", (b.top, "label"), loss_weight=[0.4])


_V4_A: list[_Branch] = [
    [("pool_ave", "AVE", 1), ("1x1", 96, 1)],
    [("1x1_2", 96, 1)],
    [("3x3_reduce", 64, 1), ("3x3", 96, 3)],
    [("3x3_2_reduce", 64, 1), ("3x3_2", 96, 3), ("3x3_3", 96, 3)],
]
_V4_B: list[_Branch] = [
    [("pool_ave", "AVE", 1), ("1x1", 128, 1)],
    [("1x1_2", 384, 1)],
    [("1x7_reduce", 192, 1), ("1x7", 224, (1, 7)), ("7x1", 256, (7, 1))],
    [
        ("1x7_2_reduce", 192, 1), ("1x7_2", 192, (1, 7)), ("7x1_2", 224, (7, 1)), ("1x7_3", 224, (1, 7)),
        ("7x1_3", 256, (7, 1)),
    ],
]  # fmt: skip


def inception_v4() -> Body:
    """Inception-v4 for images of 299 x 299."""
    b = _body()
    _conv(b, "conv1_3x3_s2", 32, 3, 2)
    _conv(b, "conv2_3x3_s1", 32, 3, valid=True)
    _conv(b, "conv3_3x3_s1", 64, 3)
    _module(b, "inception_stem1", [[("pool", "MAX", 2)], [("3x3_s2", 96, 3, 2)]])
    _module(
        b, "inception_stem2",
        [
            [("3x3_reduce", 64, 1), ("3x3", 96, 3, 1, True)],
            [("7x1_reduce", 64, 1), ("7x1", 64, (7, 1)), ("1x7", 64, (1, 7)), ("3x3_2", 96, 3, 1, True)],
        ],
    )  # fmt: skip
    _module(b, "inception_stem3", [[("3x3_s2", 192, 3, 2)], [("pool", "MAX", 2)]])
    for k in range(1, 5):
        _module(b, f"inception_a{k}", _V4_A)
    _module(
        b, "reduction_a",
        [
            [("pool", "MAX", 2)], [("3x3", 384, 3, 2)],
            [("3x3_2_reduce", 192, 1), ("3x3_2", 224, 3), ("3x3_3", 256, 3, 2)],
        ],
    )  # fmt: skip
    for k in range(1, 8):
        _module(b, f"inception_b{k}", _V4_B)
    _module(
        b, "reduction_b",
        [
            [("pool", "MAX", 2)], [("3x3_reduce", 192, 1), ("3x3", 192, 3, 2)],
            [("1x7_reduce", 256, 1), ("1x7", 256, (1, 7)), ("7x1", 320, (7, 1)), ("3x3_2", 320, 3, 2)],
        ],
    )  # fmt: skip
    for k in range(1, 4):
        _v4_c(b, f"inception_c{k}")
    return _classify(b, 0.2)


def _v4_c(b: Body, place: str) -> None:
    start = b.top
    tops = [_walk(b, place, [("pool_ave", "AVE", 1), ("1x1", 256, 1)])]
    tops.append(_walk(b.at(start), place, [("1x1_2", 256, 1)]))
    tops += _fork(b.at(start), place, [("1x1_3", 384, 1)], 256, "")
    tops += _fork(b.at(start), place, [("1x1_4", 384, 1), ("1x3_2", 448, (1, 3)), ("3x1_2", 512, (3, 1))], 256, "_3")
    b.join(f"{place}_concat", "Concat", tops)


_RESNET_A: list[_Branch] = [
    [("1x1", 32, 1)],
    [("3x3_reduce", 32, 1), ("3x3", 32, 3)],
    [("3x3_2_reduce", 32, 1), ("3x3_2", 48, 3), ("3x3_3", 64, 3)],
]
_RESNET_B: list[_Branch] = [
    [("1x1", 192, 1)],
    [("1x7_reduce", 128, 1), ("1x7", 160, (1, 7)), ("7x1", 192, (7, 1))],
]
_RESNET_C: list[_Branch] = [
    [("1x1", 192, 1)],
    [("1x3_reduce", 192, 1), ("1x3", 224, (1, 3)), ("3x1", 256, (3, 1))],
]


def inception_resnet_v2() -> Body:
    """Inception-ResNet-v2 for images of 299 x 299, as its authors released it: 320 channels behind the stem."""
    b = _stem(_body())
    _module(
        b, "conv5",
        [
            [("1x1", 96, 1)], [("5x5_reduce", 48, 1), ("5x5", 64, 5)],
            [("3x3_reduce", 64, 1), ("3x3", 96, 3), ("3x3_2", 96, 3)], [("pool_ave", "AVE", 1), ("1x1_ave", 64, 1)],
        ],
    )  # fmt: skip
    for k in range(1, 11):
        _residual(b, f"inception_resnet_v2_a{k}", _RESNET_A, 320, 0.17)
    _module(
        b, "reduction_a",
        [
            [("3x3", 384, 3, 2)], [("3x3_2_reduce", 256, 1), ("3x3_2", 256, 3), ("3x3_3", 384, 3, 2)],
            [("pool", "MAX", 2)],
        ],
    )  # fmt: skip
    for k in range(1, 21):
        _residual(b, f"inception_resnet_v2_b{k}", _RESNET_B, 1088, 0.1)
    _module(
        b, "reduction_b",
        [
            [("3x3_reduce", 256, 1), ("3x3", 384, 3, 2)], [("3x3_2_reduce", 256, 1), ("3x3_2", 288, 3, 2)],
            [("3x3_3_reduce", 256, 1), ("3x3_3", 288, 3), ("3x3_4", 320, 3, 2)], [("pool", "MAX", 2)],
        ],
    )  # fmt: skip
    for k in range(1, 10):
        _residual(b, f"inception_resnet_v2_c{k}", _RESNET_C, 2080, 0.2)
    _residual(b, "inception_resnet_v2_c10", _RESNET_C, 2080, 1, relu=False)
    return _classify(_conv(b, "conv6_1x1", 1536, 1), 0.2)


def _residual(b: Body, place: str, branches: list[_Branch], n: int, scale: float, relu: bool = True) -> None:
    """Branches, a 1x1 convolution with a bias back to `n` channels, and `scale` times that added to where it began."""
    start = b.top
    up = _module(b, place, branches).conv(f"{place}_up", n, 1, XAVIER, bias=True).top
    scaled = {} if scale == 1 else {"eltwise_param": {"coeff": [1, scale]}}
    b.join(f"{place}_residual_eltwise", "Eltwise", (start, up), **scaled)
    if relu:
        b.relu(f"{place}_residual_eltwise_relu")


_DATA = imagenet(299, 32, values=(128, 128, 128), scale=1 / 128)
_RMSPROP = solver(
    4000000, 0.045, lr_policy="step", gamma=0.94, stepsize=80000, weight_decay=4e-5, type="RMSProp", rms_decay=0.9,
    delta=1.0, momentum=0, clip_gradients=2.0, test_iter=[1000], test_interval=10000, snapshot=40000, display=40,
    average_loss=40,
)  # fmt: skip

MODELS: dict[str, Model] = {
    "inception_v3": Model("Inception-v3 on ImageNet", _DATA, inception_v3, _RMSPROP),
    "inception_v4": Model("Inception-v4 on ImageNet", _DATA, inception_v4, _RMSPROP),
    "inception_resnet_v2": Model("Inception-ResNet-v2 on ImageNet", _DATA, inception_resnet_v2, _RMSPROP),
}
