"""Residual nets for ImageNet: ResNet, ResNeXt, and ResNet with squeeze and excitation."""

from __future__ import annotations

from functools import partial
from typing import Any

from dragon.models.nets.body import MSRA, SPLIT, Body, same
from dragon.models.nets.datasets import IMAGENET
from dragon.models.nets.model import Model, solver

__all__ = ["BLOCKS_50", "BLOCKS_101", "MODELS", "resnet", "resnext50", "se_resnet50", "stages"]

_WIDTHS = (64, 128, 256, 512)
BLOCKS_50, BLOCKS_101 = (3, 4, 6, 3), (3, 4, 23, 3)


def resnet(blocks: tuple[int, ...], bottleneck: bool = True, deep: bool = False, first_bias: bool = False) -> Body:
    """A ResNet with so many blocks in its four stages (He et al. 2015, arXiv 1512.03385, table 1).

    Names and strides are those of the published Caffe nets, so that their weights can be loaded. bottleneck: blocks of
    1x1, 3x3 and 1x1; otherwise of two 3x3. deep: blocks of the third and fourth stage are named a, b1, b2 and so on, as
    in ResNet-101. first_bias: conv1 has a bias, as in ResNet-50.
    """
    b = Body(SPLIT, lr=None)
    stages(b, blocks, bottleneck, deep, first_bias)
    return b.pool("pool5", "AVE", 7, 1).ip("fc1000", 1000, MSRA)


def stages(
    b: Body,
    blocks: tuple[int, ...],
    bottleneck: bool = True,
    deep: bool = False,
    first_bias: bool = False,
    dilated: bool = False,
) -> list[str]:
    """Add the layers of a ResNet up to its last block; the top of each of the four stages. For arguments see `resnet`.

    dilated: the last stage keeps the size of its map, and its 3x3 convolutions are dilated by 2, as in R-FCN.
    """
    b.conv("conv1", 64, 7, MSRA, bias=first_bias, pad=3, stride=2).bn("bn_conv1").relu("conv1_relu")
    b.pool("pool1", "MAX")
    tops = []
    for stage, (width, count) in enumerate(zip(_WIDTHS, blocks, strict=True), 2):
        halves = stage > 2 and not (dilated and stage == 5)
        for block in range(count):
            letter = ("a" if block == 0 else f"b{block}") if deep and stage in (3, 4) else "abcdef"[block]
            project, stride = block == 0 and (bottleneck or stage > 2), 2 if halves and block == 0 else 1
            if bottleneck:
                _bottleneck(b, f"{stage}{letter}", width, project, stride, 2 if dilated and stage == 5 else 1)
            else:
                _basic(b, f"{stage}{letter}", width, project, stride)
        tops.append(b.top)
    return tops


def _shortcut(b: Body, name: str, width: int, project: bool, stride: int) -> str:
    """Add the shortcut of a block, if it has layers; the blob at its end. The body stays at the block's start."""
    start = b.top
    if not project:
        return start
    end = b.conv(f"res{name}_branch1", width, 1, MSRA, stride=stride).bn(f"bn{name}_branch1").top
    b.at(start)
    return end


def _branch(b: Body, name: str, width: int, kernel: int, relu: bool = True, **geometry: int) -> None:
    b.conv(f"res{name}", width, kernel, MSRA, **(same(kernel) | geometry)).bn(f"bn{name}")
    if relu:
        b.relu(f"res{name}_relu")


def _bottleneck(b: Body, name: str, width: int, project: bool, stride: int, dilation: int = 1) -> None:
    shortcut = _shortcut(b, name, 4 * width, project, stride)
    _branch(b, f"{name}_branch2a", width, 1, stride=stride)
    dilated: dict[str, Any] = {"pad": dilation, "dilation": dilation} if dilation > 1 else {}
    _branch(b, f"{name}_branch2b", width, 3, **dilated)
    _branch(b, f"{name}_branch2c", 4 * width, 1, relu=False)
    b.join(f"res{name}", "Eltwise", (shortcut, b.top)).relu(f"res{name}_relu")


def _basic(b: Body, name: str, width: int, project: bool, stride: int) -> None:
    shortcut = _shortcut(b, name, width, project, stride)
    _branch(b, f"{name}_branch2a", width, 3, stride=stride)
    _branch(b, f"{name}_branch2b", width, 3, relu=False)
    b.join(f"res{name}", "Eltwise", (shortcut, b.top)).relu(f"res{name}_relu")


def resnext50(groups: int = 32, width: int = 4) -> Body:
    """ResNeXt-50 with `groups` groups of `width` channels (Xie et al. 2016, arXiv 1611.05431, table 1).

    Layers are named as in public Caffe nets (resx1_conv1).
    """
    b = Body(SPLIT, lr=None)

    def conv(name: str, n: int, kernel: int, stride: int = 1, group: int = 1, relu: bool = True) -> Body:
        b.conv(name, n, kernel, MSRA, pad=kernel // 2, stride=stride, group=group).bn(f"{name}_bn")
        return b.relu(f"{name}_relu") if relu else b

    conv("conv1", 64, 7, 2).pool("pool1", "MAX", pad=1, round_mode="FLOOR")
    number = 0
    for stage, count in enumerate(BLOCKS_50):
        for block in range(count):
            number += 1
            stride, inner, outer = 2 if stage and not block else 1, groups * width * 2**stage, 256 * 2**stage
            start = b.top
            conv(f"resx{number}_conv1", inner, 1)
            conv(f"resx{number}_conv2", inner, 3, stride, groups)
            branch = conv(f"resx{number}_conv3", outer, 1, relu=False).top
            b.at(start)
            shortcut = start if block else conv(f"resx{number}_match_conv", outer, 1, stride, relu=False).top
            b.join(f"resx{number}_elewise", "Eltwise", (shortcut, branch)).relu(f"resx{number}_elewise_relu")
    return b.global_pool("pool_ave").ip("classifier", 1000, MSRA)


def se_resnet50(squeeze: int = 16) -> Body:
    """SE-ResNet-50, whose branches are weighted by channel (Hu et al. 2017, arXiv 1709.01507, table 1).

    squeeze: the factor by which the weighting has fewer channels. Names and strides are those of the authors' net.
    """
    b = Body(SPLIT, lr=None)

    def conv(name: str, n: int, kernel: int, stride: int = 1, relu: str = "") -> Body:
        b.conv(name, n, kernel, MSRA, pad=kernel // 2, stride=stride).bn(f"{name}/bn", f"{name}/bn/scale")
        return b.relu(relu) if relu else b

    conv("conv1/7x7_s2", 64, 7, 2, "conv1/relu_7x7_s2").pool("pool1/3x3_s2", "MAX")
    for stage, (width, count) in enumerate(zip(_WIDTHS, BLOCKS_50, strict=True), 2):
        for block in range(1, count + 1):
            name, stride, start = f"conv{stage}_{block}", 2 if stage > 2 and block == 1 else 1, b.top
            conv(f"{name}_1x1_reduce", width, 1, stride, f"{name}_1x1_reduce/relu")
            conv(f"{name}_3x3", width, 3, relu=f"{name}_3x3/relu")
            branch = conv(f"{name}_1x1_increase", 4 * width, 1).top
            b.global_pool(f"{name}_global_pool")
            b.conv(f"{name}_1x1_down", 4 * width // squeeze, 1, MSRA, bias=True).relu(f"{name}_1x1_down/relu")
            gate = b.conv(f"{name}_1x1_up", 4 * width, 1, MSRA, bias=True).sigmoid(f"{name}_prob").top
            b.at(start)
            shortcut = conv(f"{name}_1x1_proj", 4 * width, 1, stride).top if block == 1 else start
            b.join(name, "Axpy", (gate, branch, shortcut)).relu(f"{name}/relu")
    return b.pool("pool5/7x7_s1", "AVE", 7, 1).ip("classifier", 1000, MSRA)


# batches of 256 in eight parts, the rate a tenth at each of three plateaus (section 3.4)
_SOLVER = solver(
    600000, 0.1, (150000, 300000, 450000), weight_decay=1e-4, iter_size=8, test_iter=[1000], test_interval=5000,
    snapshot=10000,
)  # fmt: skip
_SE_SOLVER = solver(
    125000, 0.6, (37500, 75000, 112500), weight_decay=1e-4, iter_size=32, test_iter=[1000], test_interval=2500,
    snapshot=2500,
)  # fmt: skip


def _model(depth: int, blocks: tuple[int, ...], **form: bool) -> Model:
    return Model(f"ResNet-{depth} on ImageNet", IMAGENET, partial(resnet, blocks, **form), _SOLVER)


MODELS: dict[str, Model] = {
    "resnet18": _model(18, (2, 2, 2, 2), bottleneck=False),
    "resnet34": _model(34, (3, 4, 6, 3), bottleneck=False),
    "resnet50": _model(50, BLOCKS_50, first_bias=True),
    "resnet101": _model(101, BLOCKS_101, deep=True),
    "resnet152": _model(152, (3, 8, 36, 3), deep=True),
    "resnext50": Model("ResNeXt-50 (32x4d) on ImageNet", IMAGENET, resnext50, _SOLVER),
    "se_resnet50": Model("SE-ResNet-50 on ImageNet", IMAGENET, se_resnet50, _SE_SOLVER),
}
