"""The nets for CIFAR-10."""

from __future__ import annotations

from dataclasses import replace

from dragon.models.nets.body import DRAGON_2016, GLOROT, MERGED, MSRA, PLAIN, SPLIT, Body, gaussian, same
from dragon.models.nets.datasets import CIFAR10, CIFAR10_AUGMENTED, CIFAR10_MIRRORED, CIFAR10_SCALED
from dragon.models.nets.model import LONG, Model, solver

__all__ = ["MODELS", "full", "full_bn", "full_sigmoid", "nin", "quick", "resnet", "vgg_a"]


def quick(norm: str = PLAIN, fc: bool = False, caffe_init: bool = False) -> Body:
    """CIFAR-10 quick; with `norm` after each convolution, with `fc` after ip1 too.

    A net with `norm` starts from msra. caffe_init: from Caffe's Gaussian noise, as the plain net does: behind a
    normalisation the first update multiplies the norm of such small weights, after which they hardly turn any more.
    """
    b = Body(norm)
    first, conv, ip = (gaussian(1e-4), gaussian(0.01), gaussian(0.1)) if norm == PLAIN or caffe_init else (MSRA,) * 3
    b.conv("conv1", 32, 5, first, pad=2).bn("bn1").pool("pool1", "MAX").relu("relu1")
    b.conv("conv2", 32, 5, conv, pad=2).bn("bn2").relu("relu2").pool("pool2", "AVE")
    b.conv("conv3", 64, 5, conv, pad=2).bn("bn3").relu("relu3").pool("pool3", "AVE")
    b.ip("ip1", 64, ip, bias=not fc)
    if fc:
        b.bn("bn4")
    return b.ip("ip2", 10, ip)


def full() -> Body:
    """CIFAR-10 full, with LRN."""
    b = Body()
    b.conv("conv1", 32, 5, gaussian(1e-4), pad=2).pool("pool1", "MAX").relu("relu1").lrn("norm1")
    b.conv("conv2", 32, 5, gaussian(0.01), pad=2).relu("relu2").pool("pool2", "AVE").lrn("norm2")
    b.lr = None
    b.conv("conv3", 64, 5, gaussian(0.01), pad=2).relu("relu3").pool("pool3", "AVE")
    b.lr = (1, 2)
    return b.ip("ip1", 10, gaussian(0.01), decays=(250, 0))


def full_bn(norm: str) -> Body:
    """CIFAR-10 full with `norm` after each convolution, in place of LRN; it starts from msra."""
    b = Body(norm)
    b.conv("conv1", 32, 5, MSRA, pad=2).bn("bn1").pool("pool1", "MAX").relu("relu1")
    b.conv("conv2", 32, 5, MSRA, pad=2).bn("bn2").relu("relu2").pool("pool2", "AVE")
    b.conv("conv3", 64, 5, MSRA, pad=2).bn("bn3").relu("relu3").pool("pool3", "AVE")
    return b.ip("ip1", 10, MSRA)


def full_sigmoid(norm: bool) -> Body:
    """CIFAR-10 full with sigmoids. norm: BatchNorm without Scale in place of LRN and of the convolutions' biases."""
    b = Body()

    def normalise(name: str) -> None:
        if norm:
            b.add(name, "BatchNorm")

    b.conv("conv1", 32, 5, gaussian(1e-4), pad=2, bias=not norm).pool("pool1", "MAX")
    normalise("bn1")
    b.sigmoid("sigmoid1")
    if not norm:
        b.lrn("norm1")
    b.conv("conv2", 32, 5, gaussian(0.01), pad=2, bias=not norm)
    normalise("bn2")
    b.sigmoid("sigmoid2").pool("pool2", "AVE")
    if not norm:
        b.lrn("norm2")
    b.conv("conv3", 64, 5, gaussian(0.01), pad=2, bias=not norm)
    normalise("bn3")
    b.sigmoid("sigmoid3").pool("pool3", "AVE")
    return b.ip("ip1", 10, gaussian(0.01), decays=(1, 0))


def resnet(blocks: int, norm: str = SPLIT) -> Body:
    """A ResNet of 6 blocks + 2 layers, three stages of so many blocks each (He et al. 2015, section 4.2).

    Where the shape changes, the shortcut is a 1x1 convolution with batch normalisation.
    """
    b = Body(norm, decay=0.9, lr=None)
    b.conv("conv1", 16, 3, MSRA, pad=1).bn("bn1").relu("relu1")
    for stage, width in enumerate((16, 32, 64), 1):
        for block in range(1, blocks + 1):
            _residual(b, f"s{stage}b{block}", width, 2 if stage > 1 and block == 1 else 1)
    return b.global_pool("pool").ip("ip", 10, MSRA)


def _residual(b: Body, name: str, width: int, stride: int) -> None:
    start = b.top
    b.conv(f"{name}_conv1", width, 3, MSRA, pad=1, stride=stride).bn(f"{name}_bn1").relu(f"{name}_relu1")
    b.conv(f"{name}_conv2", width, 3, MSRA, pad=1).bn(f"{name}_bn2")
    branch, b.top = b.top, start
    if stride > 1:
        b.conv(f"{name}_proj", width, 1, MSRA, stride=stride).bn(f"{name}_proj_bn")
    shortcut = b.top
    b.join(name, "Eltwise", (branch, shortcut)).relu(f"{name}_relu")


def nin() -> Body:
    """Network in network (Lin et al. 2013, arXiv 1312.4400): convolutions with two layers of 1x1 behind each."""
    b = Body(decays=(1, 0))
    noise = gaussian(0.05)
    for stage, (kernel, widths) in enumerate(((5, (192, 160, 96)), (5, (192, 192, 192)), (3, (192, 192, 10))), 1):
        names = f"conv{stage}", f"cccp{2 * stage - 1}", f"cccp{2 * stage}"
        for name, width, size in zip(names, widths, (kernel, 1, 1), strict=True):
            b.conv(name, width, size, noise, **same(size)).relu(f"relu_{name}")
        if stage < 3:
            b.pool(f"pool{stage}", "MAX" if stage == 1 else "AVE").dropout(f"drop{3 * stage}")
    return b.global_pool("pool3")


def vgg_a(norm: str, noisy: bool = False) -> Body:
    """VGG configuration A for CIFAR-10, with `norm` after each convolution. noisy: with NoisyBN behind that."""
    b = Body(norm, decay=0.9, lr=None)
    for stage, widths in enumerate(((64,), (128,), (256, 256), (512, 512), (512, 512)), 1):
        for k, width in enumerate(widths, 1):
            b.conv(f"conv{stage}_{k}", width, 3, GLOROT, pad=1).bn(f"bn{stage}_{k}")
            if noisy:
                b.add(f"noise{stage}_{k}", "NoisyBN", in_place=True)
            b.relu(f"relu{stage}_{k}")
        b.pool(f"pool{stage}", "MAX", 2)
    b.ip("ip1", 512, GLOROT).relu("relu_ip1").ip("ip2", 512, GLOROT).relu("relu_ip2")
    return b.ip("ip3", 10, GLOROT)


_QUICK = solver(5000, 0.001, (4000,))
_QUICK_BN = solver(5000, 0.03, (4000,), weight_decay=5e-4)
_SIGMOID = solver(60000, 0.001, weight_decay=0, **LONG)
_RESNET = solver(64000, 0.1, (32000, 48000), weight_decay=1e-4, **LONG)
_FULL_BN = solver(70000, 0.03, (60000, 65000), weight_decay=5e-4, **LONG)
_VGG = solver(15000, 0.1, momentum=0, weight_decay=0)

MODELS: dict[str, Model] = {
    "cifar10_quick": Model("CIFAR-10 quick", CIFAR10, quick, _QUICK),
    "cifar10_quick_bn_split": Model(
        "CIFAR-10 quick with BatchNorm and Scale after each convolution", CIFAR10, lambda: quick(SPLIT), _QUICK_BN
    ),
    "cifar10_quick_bn_merged": Model(
        "CIFAR-10 quick with BN after each convolution", CIFAR10, lambda: quick(MERGED), _QUICK_BN
    ),
    "cifar10_quick_bn_split_fc": Model(
        "CIFAR-10 quick with BatchNorm and Scale after each convolution and ip1",
        CIFAR10, lambda: quick(SPLIT, fc=True), _QUICK_BN,
    ),
    "cifar10_quick_bn_merged_fc": Model(
        "CIFAR-10 quick with BN after each convolution and ip1", CIFAR10, lambda: quick(MERGED, fc=True), _QUICK_BN
    ),
    "cifar10_quick_dragon2016": Model(
        "CIFAR-10 quick with batch normalisation as the first Dragon writes it",
        CIFAR10, lambda: quick(DRAGON_2016, caffe_init=True), _QUICK, profile=DRAGON_2016,
    ),
    "cifar10_quick_bn_split_caffe_init": Model(
        "CIFAR-10 quick with BatchNorm and Scale, initialisation and solver as without",
        CIFAR10, lambda: quick(SPLIT, caffe_init=True), _QUICK,
    ),
    "cifar10_quick_bn_merged_caffe_init": Model(
        "CIFAR-10 quick with BN, initialisation and solver as without",
        CIFAR10, lambda: quick(MERGED, caffe_init=True), _QUICK,
    ),
    "cifar10_full": Model("CIFAR-10 full", CIFAR10, full, solver(70000, 0.001, (60000, 65000), **LONG)),
    "cifar10_full_bn_split": Model(
        "CIFAR-10 full with BatchNorm and Scale after each convolution", CIFAR10, lambda: full_bn(SPLIT), _FULL_BN
    ),
    "cifar10_full_bn_merged": Model(
        "CIFAR-10 full with BN after each convolution", CIFAR10, lambda: full_bn(MERGED), _FULL_BN
    ),
    "cifar10_full_sigmoid": Model("CIFAR-10 full with sigmoids", CIFAR10, lambda: full_sigmoid(False), _SIGMOID),
    "cifar10_full_sigmoid_bn": Model(
        "CIFAR-10 full with sigmoids and BatchNorm", CIFAR10, lambda: full_sigmoid(True), _SIGMOID
    ),
    "resnet20_cifar10": Model(
        "ResNet-20 on CIFAR-10", CIFAR10_AUGMENTED, lambda: resnet(3, MERGED), _RESNET
    ),
    "resnet32_cifar10": Model("ResNet-32 on CIFAR-10", CIFAR10_AUGMENTED, lambda: resnet(5), _RESNET),
    "resnet44_cifar10": Model("ResNet-44 on CIFAR-10", CIFAR10_AUGMENTED, lambda: resnet(7), _RESNET),
    "resnet56_cifar10": Model("ResNet-56 on CIFAR-10", CIFAR10_AUGMENTED, lambda: resnet(9), _RESNET),
    "resnet110_cifar10": Model(
        "ResNet-110 on CIFAR-10", CIFAR10_AUGMENTED, lambda: resnet(18),
        # a tenth of the rate at first, since it hardly begins otherwise (section 4.2)
        solver(64000, 0.1, (32000, 48000), weight_decay=1e-4, warmup_iter=400, warmup_start=0.1, **LONG),
    ),
    "nin_cifar10": Model(
        "Network in network on CIFAR-10", replace(CIFAR10, train=128), nin,
        solver(120000, 0.1, (100000,), weight_decay=1e-4, **LONG),
    ),
    "resnet8_cifar10": Model(
        "ResNet-8 on CIFAR-10", CIFAR10_MIRRORED, lambda: resnet(1, MERGED),
        solver(4000, 0.1, (2000, 3000), weight_decay=1e-4),
    ),
    "vgg_a_cifar10": Model("VGG-A on CIFAR-10", CIFAR10_SCALED, lambda: vgg_a(PLAIN), _VGG),
    "vgg_a_cifar10_bn": Model("VGG-A with BN on CIFAR-10", CIFAR10_SCALED, lambda: vgg_a(MERGED), _VGG),
    "vgg_a_cifar10_noisy": Model(
        "VGG-A with BN and noise behind it on CIFAR-10", CIFAR10_SCALED, lambda: vgg_a(MERGED, noisy=True), _VGG
    ),
}  # fmt: skip
