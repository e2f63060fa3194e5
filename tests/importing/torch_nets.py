"""Small nets of the well-known families, in plain torch.nn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

Module = Any  # torch has annotations on some classes only
__all__ = ["NETS", "make"]


def conv_bn(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1, act: Any = nn.ReLU) -> Module:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), act())


def head(channels: int) -> list[Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels, 10)]


class Residual(nn.Module):  # type: ignore[misc]
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_bn(inputs, outputs, 3, stride), conv_bn(outputs, outputs, act=nn.Identity))
        same = stride == 1 and inputs == outputs
        self.short = nn.Identity() if same else conv_bn(inputs, outputs, 1, stride, act=nn.Identity)

    def forward(self, x: Any) -> Any:
        return F.relu(self.body(x) + self.short(x))


def resnet() -> Module:
    start = [conv_bn(3, 8, 7, 2), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*start, Residual(8, 8, 1), Residual(8, 16, 2), *head(16))


class Squeeze(nn.Module):  # type: ignore[misc]
    """Squeeze and excitation, with the activations of EfficientNet or of MobileNetV3."""

    def __init__(self, channels: int, hard: bool) -> None:
        super().__init__()
        inner = [nn.Conv2d(channels, 4, 1), nn.ReLU() if hard else nn.SiLU(), nn.Conv2d(4, channels, 1)]
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), *inner, nn.Hardsigmoid() if hard else nn.Sigmoid())

    def forward(self, x: Any) -> Any:
        return x * self.gate(x)


class Inverted(nn.Module):  # type: ignore[misc]
    def __init__(self, inputs: int, outputs: int, stride: int, act: Any, squeeze: bool) -> None:
        super().__init__()
        wide = 2 * inputs
        middle = [Squeeze(wide, act is nn.Hardswish)] if squeeze else []
        parts = [conv_bn(inputs, wide, 1, act=act), conv_bn(wide, wide, 3, stride, wide, act), *middle]
        self.body = nn.Sequential(*parts, conv_bn(wide, outputs, 1, act=nn.Identity))
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Any) -> Any:
        return x + self.body(x) if self.adds else self.body(x)


def inverted_net(act: Any, squeeze: bool) -> Module:
    body = [Inverted(8, 8, 1, act, squeeze), Inverted(8, 12, 2, act, squeeze)]
    return nn.Sequential(conv_bn(3, 8, 3, 2, act=act), *body, *head(12))


class Vgg(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2, 2), nn.Conv2d(8, 12, 3, 1, 1), nn.ReLU(),
            nn.MaxPool2d(2, 2), nn.AdaptiveAvgPool2d((8, 11)),
        )  # fmt: skip
        self.classes = nn.Sequential(nn.Linear(12 * 88, 20), nn.ReLU(), nn.Dropout(), nn.Linear(20, 10))

    def forward(self, x: Any) -> Any:
        x = self.features(x)
        return F.log_softmax(self.classes(x.view(x.size(0), -1)), 1)


class Fire(nn.Module):  # type: ignore[misc]
    def __init__(self, inputs: int, squeezed: int, each: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.small, self.large = nn.Conv2d(squeezed, each, 1), nn.Conv2d(squeezed, each, 3, padding=1)

    def forward(self, x: Any) -> Any:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.small(x)), F.relu(self.large(x))], 1)


def squeezenet() -> Module:
    pool = nn.MaxPool2d(3, 2, ceil_mode=True)
    last = [nn.Dropout(), nn.Conv2d(16, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.ReLU(), pool, Fire(16, 4, 8), pool, Fire(16, 4, 8), *last)


class UNet(nn.Module):  # type: ignore[misc]
    """mode: transposed, nearest, half_pixel or aligned."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.down = nn.ModuleList([conv_bn(3, 8), conv_bn(8, 16), conv_bn(16, 16)])
        self.up = {
            "transposed": lambda: nn.ConvTranspose2d(16, 16, 2, 2),
            "nearest": lambda: nn.Upsample(scale_factor=2, mode="nearest"),
            "half_pixel": lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            "aligned": lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
        }[mode]()
        self.join, self.last = conv_bn(32, 8), nn.Sequential(conv_bn(16, 8), nn.Conv2d(8, 2, 1))

    def forward(self, x: Any) -> Any:
        a = self.down[0](x)
        b = self.down[1](F.max_pool2d(a, 2))
        c = self.up(self.down[2](F.max_pool2d(b, 2)))
        rows, columns = b.size(2) - c.size(2), b.size(3) - c.size(3)
        c = F.pad(c, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])
        d = F.interpolate(self.join(torch.cat([b, c], 1)), size=a.shape[2:], mode="bilinear", align_corners=True)
        return self.last(torch.cat([a, d], 1))


class Dense(nn.Module):  # type: ignore[misc]
    def __init__(self, inputs: int) -> None:
        super().__init__()
        first = [nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, 16, 1, bias=False)]
        self.body = nn.Sequential(*first, nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 4, 3, padding=1, bias=False))

    def forward(self, x: Any) -> Any:
        return torch.cat([x, self.body(x)], 1)


def densenet() -> Module:
    transition = [nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 8, 1), nn.AvgPool2d(2, 2)]
    return nn.Sequential(conv_bn(3, 8), Dense(8), Dense(12), *transition, Dense(8), *head(12))


class Shuffle(nn.Module):  # type: ignore[misc]
    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        middle = [nn.Conv2d(half, half, 3, 1, 1, groups=half, bias=False), nn.BatchNorm2d(half)]
        self.body = nn.Sequential(conv_bn(half, half, 1), *middle, conv_bn(half, half, 1))

    def forward(self, x: Any) -> Any:
        left, right = x.chunk(2, dim=1)
        y = torch.cat((left, self.body(right)), 1)
        n, channels, height, width = y.size()
        y = y.view(n, 2, channels // 2, height, width).transpose(1, 2).contiguous()
        return y.view(n, -1, height, width)


class Mean(nn.Module):  # type: ignore[misc]
    def forward(self, x: Any) -> Any:
        return x.mean([2, 3])


def shufflenet() -> Module:
    return nn.Sequential(conv_bn(3, 8, 3, 2), nn.MaxPool2d(3, 2, 1), Shuffle(8), Shuffle(8), Mean(), nn.Linear(8, 10))


class Inception(nn.Module):  # type: ignore[misc]
    def __init__(self, inputs: int) -> None:
        super().__init__()
        long = [conv_bn(inputs, 4, 1), nn.Conv2d(4, 4, (1, 5), padding=(0, 2)), nn.Conv2d(4, 4, (5, 1), padding=(2, 0))]
        self.parts = nn.ModuleList([
            conv_bn(inputs, 4, 1), nn.Sequential(conv_bn(inputs, 4, 1), conv_bn(4, 6)), nn.Sequential(*long),
            nn.Sequential(nn.AvgPool2d(3, 1, 1), conv_bn(inputs, 4, 1)),
        ])  # fmt: skip

    def forward(self, x: Any) -> Any:
        return torch.cat([part(x) for part in self.parts], 1)


def googlenet() -> Module:
    start = [conv_bn(3, 8, 7, 2), nn.MaxPool2d(3, 2, ceil_mode=True), nn.LocalResponseNorm(5)]
    pools = [nn.MaxPool2d(2, 2, ceil_mode=True), nn.AvgPool2d(3, 2, 1, count_include_pad=False)]
    return nn.Sequential(*start, Inception(8), Inception(18), *pools, *head(18))


class ConvNext(nn.Module):  # type: ignore[misc]
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        inner = [nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)]
        self.body = nn.Sequential(nn.LayerNorm(channels), *inner)
        self.scale = nn.Parameter(torch.rand(channels))

    def forward(self, x: Any) -> Any:
        y = self.body(self.depthwise(x).permute(0, 2, 3, 1))
        return x + (self.scale * y).permute(0, 3, 1, 2)


def convnext() -> Module:
    return nn.Sequential(nn.Conv2d(3, 8, 4, 4), ConvNext(8), ConvNext(8), Mean(), nn.LayerNorm(8), nn.Linear(8, 10))


def assortment() -> Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.Mish(), nn.InstanceNorm2d(8, affine=True), nn.PReLU(8),
        nn.Conv2d(8, 16, 3), nn.SELU(), nn.PixelShuffle(2), nn.ELU(), nn.LeakyReLU(0.2), nn.Softplus(),
        nn.GELU(approximate="tanh"), nn.ReflectionPad2d(1), nn.Conv2d(4, 4, 3), nn.Hardtanh(-0.5, 0.7), nn.Softmax2d(),
        nn.Conv2d(4, 2, 3, padding="same", padding_mode="replicate"),
    )  # fmt: skip


class Lstm(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Conv2d(3, 6, (34, 5))
        self.lstm = nn.LSTM(6, 5, 2, bidirectional=True, batch_first=True)
        self.last = nn.Linear(10, 3)

    def forward(self, x: Any) -> Any:
        return self.last(self.lstm(self.start(x).squeeze(2).transpose(1, 2))[0])


NETS: dict[str, Callable[[], Module]] = {
    "resnet": resnet,
    "mobilenet_v2": lambda: inverted_net(nn.ReLU6, False),
    "mobilenet_v3": lambda: inverted_net(nn.Hardswish, True),
    "efficientnet": lambda: inverted_net(nn.SiLU, True),
    "vgg": Vgg,
    "squeezenet": squeezenet,
    "unet_transposed": lambda: UNet("transposed"),
    "unet_nearest": lambda: UNet("nearest"),
    "unet_half_pixel": lambda: UNet("half_pixel"),
    "unet_aligned": lambda: UNet("aligned"),
    "densenet": densenet,
    "shufflenet_v2": shufflenet,
    "googlenet": googlenet,
    "convnext": convnext,
    "assortment": assortment,
    "lstm": Lstm,
}


def make(name: str) -> Module:
    """A net with random weights and statistics, in evaluation mode."""
    torch.manual_seed(0)
    net = NETS[name]().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return net
