"""MobileNet 1 to 3 and EfficientNet, for ImageNet: nets of depthwise convolutions."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

from dragon.models.nets.body import MSRA, SPLIT, Body, same
from dragon.models.nets.datasets import CIFAR10_AUGMENTED, IMAGENET_SCALED
from dragon.models.nets.model import LONG, Model, solver

__all__ = ["MODELS", "efficientnet_b0", "mobilenet_v1", "mobilenet_v2", "mobilenet_v3"]

_EXACT_EPS = 1e-3  # of BatchNorm in MobileNet 3 and EfficientNet


def _conv(b: Body, name: str, n: int, kernel: int = 1, act: str = "", stride: int = 1, depthwise: bool = False) -> None:
    """A convolution without bias, batch normalisation, and an activation of type `act`, if any."""
    b.conv(name, n, kernel, MSRA, **same(kernel, stride, n if depthwise else 1)).bn(f"{name}/bn")
    if act:
        b.add(name.replace("conv", "relu") if name.startswith("conv") else f"{name}/act", act, in_place=True)


def mobilenet_v1(side: int = 224, classes: int = 1000) -> Body:
    """MobileNet (Howard et al. 2017, arXiv 1704.04861, table 1), with the layer names of shicai's Caffe net.

    For small images the first of its five strides is left out.
    """
    small = side < 64
    b = Body(SPLIT, lr=None)
    _conv(b, "conv1", 32, 3, "ReLU", stride=1 if small else 2)
    width = 32
    for name, outputs, stride in (
        ("2_1", 64, 1), ("2_2", 128, 2), ("3_1", 128, 1), ("3_2", 256, 2), ("4_1", 256, 1), ("4_2", 512, 2),
        *((f"5_{k}", 512, 1) for k in range(1, 6)), ("5_6", 1024, 2), ("6", 1024, 1),
    ):  # fmt: skip
        _conv(b, f"conv{name}/dw", width, 3, "ReLU", stride, depthwise=True)
        _conv(b, f"conv{name}/sep", outputs, act="ReLU")
        width = outputs
    return b.global_pool("pool6").conv("fc7", classes, 1, MSRA, bias=True)


# name, channels and stride of the blocks; 4_3 and 4_7 have their strides from the net
_V2_BLOCKS = (
    ("2_1", 16, 1), ("2_2", 24, 2), ("3_1", 24, 1), ("3_2", 32, 2), ("4_1", 32, 1), ("4_2", 32, 1), ("4_3", 64, 0),
    ("4_4", 64, 1), ("4_5", 64, 1), ("4_6", 64, 1), ("4_7", 96, 0), ("5_1", 96, 1), ("5_2", 96, 1), ("5_3", 160, 2),
    ("6_1", 160, 1), ("6_2", 160, 1), ("6_3", 320, 1),
)  # fmt: skip


def mobilenet_v2(shicai: bool = False) -> Body:
    """MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381, table 2), with the layer names of shicai's Caffe net.

    shicai: as in that net, which follows the paper's first version: ReLU for ReLU6, a 1x1 convolution at the start of
    the first block too, and the fourth halving of the image before the blocks of 96 channels, not of 64.
    """
    b = Body(SPLIT, lr=None)
    act = "ReLU" if shicai else "ReLU6"
    strides = {"4_3": 1 if shicai else 2, "4_7": 2 if shicai else 1}
    _conv(b, "conv1", 32, 3, act, stride=2)
    width = 32
    for name, outputs, given in _V2_BLOCKS:
        stride, start, expanded = given or strides[name], b.top, width * (1 if name == "2_1" else 6)
        if expanded > width or shicai:
            _conv(b, f"conv{name}/expand", expanded, act=act)
        _conv(b, f"conv{name}/dwise", expanded, 3, act, stride, depthwise=True)
        _conv(b, f"conv{name}/linear", outputs)
        if stride == 1 and width == outputs:
            b.join(f"block_{name}", "Eltwise", (start, b.top))
        width = outputs
    _conv(b, "conv6_4", 1280, act=act)
    return b.global_pool("pool6").conv("fc7", 1000, 1, MSRA, bias=True)


class Inverted(NamedTuple):
    """An inverted residual block: kernel of the depthwise convolution, channels inside and behind, its stride.

    squeeze: channels in the middle of squeeze and excitation; 0 for none.
    """

    kernel: int
    inner: int
    outputs: int
    act: str
    stride: int
    squeeze: int


def _inverted(b: Body, blocks: Iterable[Inverted], width: int, squeeze_act: str, gate: str) -> None:
    """Add blocks behind `width` channels. squeeze_act, gate: activations within squeeze and excitation."""
    for number, block in enumerate(blocks, 1):
        name, start = f"block{number}", b.top
        if block.inner != width:
            _conv(b, f"{name}/expand", block.inner, act=block.act)
        _conv(b, f"{name}/dwise", block.inner, block.kernel, block.act, block.stride, depthwise=True)
        if block.squeeze:
            inside = b.top
            b.global_pool(f"{name}/se_pool").ip(f"{name}/se_down", block.squeeze, MSRA)
            b.add(f"{name}/se_act", squeeze_act, in_place=True).ip(f"{name}/se_up", block.inner, MSRA)
            b.add(f"{name}/se_gate", gate, in_place=True)
            b.join(f"{name}/se", "Scale", (inside, b.top), scale_param={"axis": 0})
        _conv(b, f"{name}/linear", block.outputs)
        if block.stride == 1 and block.outputs == width:
            b.join(name, "Eltwise", (start, b.top))
        width = block.outputs


def _divisible(channels: float) -> int:
    """The nearest multiple of 8, but not less than nine tenths."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near


_R, _H = "ReLU", "HardSwish"
# kernel, channels inside and behind, squeeze and excitation, activation, stride: tables 1 and 2
_V3_LARGE = (
    (3, 16, 16, 0, _R, 1), (3, 64, 24, 0, _R, 2), (3, 72, 24, 0, _R, 1), (5, 72, 40, 1, _R, 2), (5, 120, 40, 1, _R, 1),
    (5, 120, 40, 1, _R, 1), (3, 240, 80, 0, _H, 2), (3, 200, 80, 0, _H, 1), (3, 184, 80, 0, _H, 1),
    (3, 184, 80, 0, _H, 1), (3, 480, 112, 1, _H, 1), (3, 672, 112, 1, _H, 1), (5, 672, 160, 1, _H, 2),
    (5, 960, 160, 1, _H, 1), (5, 960, 160, 1, _H, 1),
)  # fmt: skip
_V3_SMALL = (
    (3, 16, 16, 1, _R, 2), (3, 72, 24, 0, _R, 2), (3, 88, 24, 0, _R, 1), (5, 96, 40, 1, _H, 2), (5, 240, 40, 1, _H, 1),
    (5, 240, 40, 1, _H, 1), (5, 120, 48, 1, _H, 1), (5, 144, 48, 1, _H, 1), (5, 288, 96, 1, _H, 2),
    (5, 576, 96, 1, _H, 1), (5, 576, 96, 1, _H, 1),
)  # fmt: skip


def mobilenet_v3(large: bool = True) -> Body:
    """MobileNetV3 (Howard et al. 2019, arXiv 1905.02244, tables 1 and 2), large or small."""
    b = Body(SPLIT, lr=None, eps=_EXACT_EPS)
    _conv(b, "conv1", 16, 3, _H, stride=2)
    blocks = [
        Inverted(kernel, inner, outputs, act, stride, _divisible(inner / 4) if se else 0)
        for kernel, inner, outputs, se, act, stride in (_V3_LARGE if large else _V3_SMALL)
    ]
    _inverted(b, blocks, 16, "ReLU", "HardSigmoid")
    _conv(b, "conv2", 960 if large else 576, act=_H)
    b.global_pool("pool").ip("fc1", 1280 if large else 1024, MSRA).add("fc1/act", _H, in_place=True)
    return b.dropout("drop", 0.2).ip("fc2", 1000, MSRA)


def efficientnet_b0() -> Body:
    """EfficientNet-B0 (Tan & Le 2019, arXiv 1905.11946, table 1), without stochastic depth."""
    b = Body(SPLIT, lr=None, eps=_EXACT_EPS)
    _conv(b, "conv1", 32, 3, "Swish", stride=2)
    blocks, width = [], 32
    for expansion, kernel, stride, outputs, count in (
        (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4),
        (6, 3, 1, 320, 1),
    ):  # fmt: skip
        for k in range(count):
            step = stride if k == 0 else 1
            blocks.append(Inverted(kernel, expansion * width, outputs, "Swish", step, width // 4))
            width = outputs
    _inverted(b, blocks, 32, "Swish", "Sigmoid")
    _conv(b, "conv2", 1280, act="Swish")
    return b.global_pool("pool").dropout("drop", 0.2).ip("fc", 1000, MSRA)


# batches of 256 in eight parts; the authors train with RMSProp, which here has no momentum, so it is SGD
_SOLVER = solver(
    450000, 0.1, lr_policy="cosine", weight_decay=4e-5, iter_size=8, test_iter=[1000], test_interval=5000,
    snapshot=10000,
)  # fmt: skip
_CIFAR_SOLVER = solver(78000, 0.1, lr_policy="cosine", weight_decay=5e-4, **LONG)

MODELS: dict[str, Model] = {
    "mobilenet_v1": Model("MobileNet on ImageNet", IMAGENET_SCALED, mobilenet_v1, _SOLVER),
    "mobilenet_v2": Model("MobileNetV2 on ImageNet", IMAGENET_SCALED, mobilenet_v2, _SOLVER),
    "mobilenet_v2_shicai": Model(
        "MobileNetV2 as shicai's Caffe net on ImageNet", IMAGENET_SCALED, partial(mobilenet_v2, shicai=True), _SOLVER
    ),
    "mobilenet_v3": Model("MobileNetV3-Large on ImageNet", IMAGENET_SCALED, mobilenet_v3, _SOLVER),
    "mobilenet_v3_small": Model(
        "MobileNetV3-Small on ImageNet", IMAGENET_SCALED, partial(mobilenet_v3, large=False), _SOLVER
    ),
    "efficientnet_b0": Model("EfficientNet-B0 on ImageNet", IMAGENET_SCALED, efficientnet_b0, _SOLVER),
    "mobilenet_cifar10": Model(
        "MobileNet on CIFAR-10", CIFAR10_AUGMENTED, partial(mobilenet_v1, side=32, classes=10), _CIFAR_SOLVER
    ),
}
