"""Normalisations of each item by itself that torch.nn lacks."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def lrn_within_channel(x: Tensor, size: int, alpha: float, beta: float) -> Tensor:
    """Local response normalisation over a square of pixels: x / (1 + alpha mean(x^2)) ^ beta."""
    return x / (1 + alpha * F.avg_pool2d(x * x, size, 1, size // 2)) ** beta


def mean_variance_normalize(x: Tensor, lead: int, scaled: bool, eps: float) -> Tensor:
    """(x - mean) / (std + eps) over the axes from `lead` on; without `scaled` only the mean is subtracted."""
    rows = x.reshape(*x.shape[:lead], -1)
    rows = rows - rows.mean(-1, keepdim=True)
    if scaled:
        square = rows.square().mean(-1, keepdim=True)
        spread = square > 0  # elsewhere all values are equal, and sqrt has no derivative
        rows = rows / (torch.where(spread, square, 1).sqrt() * spread + eps)
    return rows.reshape(x.shape)


class L2Normalize(nn.Module):
    """Items divided by their L2 norm (over all axes, or over the channels of each position), then scaled."""

    def __init__(self, channels: int, eps: float, across_spatial: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))  # one for each channel, or a single one
        self.eps, self.across_spatial = eps, across_spatial

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(2) if x.dim() > 2 else x[..., None]
        squares = rows.square().sum((1, 2) if self.across_spatial else 1, keepdim=True)
        return (rows / (squares + self.eps).sqrt() * self.weight[:, None]).reshape(x.shape)


class FRN(nn.Module):
    """Filter response normalisation and its thresholded linear unit (Singh & Krishnan 2020)."""

    def __init__(self, channels: int, eps: float, threshold: bool) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.threshold = nn.Parameter(torch.zeros(channels)) if threshold else None
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(*x.shape[:2], -1)
        rows = rows * torch.rsqrt(rows.square().mean(2, keepdim=True) + self.eps)
        rows = rows * self.weight[:, None] + self.bias[:, None]
        if self.threshold is not None:
            rows = torch.maximum(rows, self.threshold[:, None])
        return rows.reshape(x.shape)


class EvoNormS0(nn.Module):
    """Normalisation and activation in one: EvoNorm-S0 (Liu et al. 2020)."""

    def __init__(self, channels: int, groups: int, eps: float) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.v = nn.Parameter(torch.ones(channels))
        self.groups, self.eps = groups, eps

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(*x.shape[:2], -1)
        var = x.reshape(x.shape[0], self.groups, -1).var(2, correction=0, keepdim=True)
        gated = rows * torch.sigmoid(rows * self.v[:, None])
        normal = gated.reshape(x.shape[0], self.groups, -1) * torch.rsqrt(var + self.eps)
        return (normal.reshape(rows.shape) * self.weight[:, None] + self.bias[:, None]).reshape(x.shape)
