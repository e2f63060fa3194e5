"""Batch normalisation with Caffe's running average, and its relatives."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BatchNorm(nn.Module):
    """Batch normalisation over axis 1 with the running average of Caffe's layer.

    In eval() it is nn.BatchNorm2d. In train() the output is the same too; what differs is the running average. A batch
    counts `new`, the history `momentum` (so nn.BatchNorm2d's momentum is 1 - momentum here), and running_mean and
    running_var are the sums divided by average_weight, the sum of those weights, so not biased towards their start. The
    variance that is averaged is the biased one unless `unbiased` (nn.BatchNorm2d takes the unbiased one).
    """

    def __init__(
        self,
        channels: int,
        eps: float,
        momentum: float = 1.0,
        new: float = 1.0,
        unbiased: bool = False,
        affine: bool = True,
        weighted: bool = True,  # keeps average_weight; otherwise the average starts from 0 without a correction
        full: bool = False,  # statistics that were stored with a weight of 0 have a weight of 1
        deviation: bool = False,  # averages the standard deviation in place of the variance
        running: bool
        | None = None,  # True: running statistics always; False: those of the batch; None: as train() says
        ghost_batch: int = 0,  # items whose statistics are taken together; 0: all of a batch
        constant: bool = False,  # the gradient takes the statistics as constants
        averages: bool = True,
    ) -> None:
        super().__init__()
        self.channels, self.eps, self.momentum, self.new, self.unbiased = channels, eps, momentum, new, unbiased
        self.full, self.deviation, self.running = full, deviation, running
        self.ghost_batch, self.constant = ghost_batch, constant
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.register_buffer("running_mean", torch.zeros(channels) if averages else None)
        self.register_buffer("running_var", torch.zeros(channels) if averages else None)
        self.register_buffer("average_weight", torch.zeros(1) if averages and weighted else None)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(x.shape[0], self.channels, -1)
        if not self.training if self.running is None else self.running:
            mean, var = self.running_mean, self.running_var
            if mean is None:  # the statistics are folded into weight and bias
                mean, var = rows.new_zeros(self.channels), rows.new_ones(self.channels)
            y = F.batch_norm(rows, mean, var.clamp(min=0), self.weight, self.bias, eps=self.eps)
        else:
            y = torch.cat([self.by_batch(part) for part in rows.split(self.ghost_batch or max(1, len(rows)))])
        return y.reshape(x.shape)

    def by_batch(self, rows: Tensor) -> Tensor:
        """Normalise (N, C, S) by its own statistics, which move the running average."""
        var, mean = torch.var_mean(rows, dim=(0, 2), correction=0)
        if self.running_mean is not None:
            self.average(mean.detach(), var.detach(), rows.shape[0] * rows.shape[2])
        if self.constant:
            var, mean = var.detach(), mean.detach()
        y = (rows - mean[:, None]) * torch.rsqrt(var + self.eps)[:, None]
        return y if self.weight is None or self.bias is None else y * self.weight[:, None] + self.bias[:, None]

    @torch.no_grad()
    def average(self, mean: Tensor, var: Tensor, count: int) -> None:
        """Move the running average by the statistics of a batch with `count` values per channel."""
        if self.unbiased and count > 1:
            var = var * (count / (count - 1))
        old, new = self.momentum, self.new
        if self.average_weight is not None:
            weight = self.average_weight
            if self.full and weight == 0 and (self.running_mean.any() or self.running_var.any()):
                weight = torch.ones_like(weight)
            total = self.momentum * weight + self.new
            old, new = self.momentum * weight / total, self.new / total
            self.average_weight.copy_(total)
        self.running_mean.copy_(old * self.running_mean + new * mean)
        if self.deviation:
            root = old * (self.running_var + self.eps).clamp(min=0).sqrt() + new * (var + self.eps).sqrt()
            self.running_var.copy_(root * root - self.eps)
        else:
            self.running_var.copy_(old * self.running_var + new * var)


def batch_statistics(x: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel, both (1, C, 1, 1)."""
    var, mean = torch.var_mean(x.reshape(x.shape[0], channels, -1), dim=(0, 2), correction=0)
    return mean.reshape(1, channels, 1, 1), var.reshape(1, channels, 1, 1)


class BatchRenorm(BatchNorm):
    """Batch renormalisation (Ioffe 2017), whose limits grow from iteration `start` on."""

    def __init__(
        self,
        channels: int,
        eps: float,
        momentum: float,
        limits: tuple[float, float],
        steps: tuple[int, ...],
        running: bool | None = None,
    ):
        super().__init__(channels, eps, momentum, unbiased=True, affine=False, running=running)
        self.limits, self.steps = limits, steps  # r_max and d_max; where they begin to grow, and where each is reached
        self.register_buffer("iterations", torch.zeros(1))

    def by_batch(self, rows: Tensor) -> Tensor:
        """Normalise (N, C, S) by its own statistics, corrected towards the running ones."""
        var, mean = torch.var_mean(rows, dim=(0, 2), correction=0)
        inv = torch.rsqrt(var + self.eps)
        start, *ends = self.steps
        grown = [((self.iterations - start) / max(1, end - start)).clamp(0, 1) for end in ends]
        r_max, d_max = 1 + (self.limits[0] - 1) * grown[0], self.limits[1] * grown[1]
        old = torch.rsqrt(self.running_var + self.eps)
        known = self.average_weight != 0
        with torch.no_grad():
            r = torch.where(known, (old / inv).clamp(1 / r_max, r_max), torch.ones_like(inv))
            d = torch.where(known, ((mean - self.running_mean) * old).clamp(-d_max, d_max), torch.zeros_like(inv))
        self.average(mean.detach(), var.detach(), rows.shape[0] * rows.shape[2])
        self.iterations += 1
        return (rows - mean[:, None]) * (inv * r)[:, None] + d[:, None]


class DecorrelatedBN(nn.Module):
    """Whitens groups of channels by their covariance (Huang et al. 2018); the covariance is averaged."""

    def __init__(
        self, channels: int, groups: int, eps: float, momentum: float, new: float, unbiased: bool, affine: bool
    ):
        super().__init__()
        self.groups, self.eps, self.momentum, self.new, self.unbiased = groups, eps, momentum, new, unbiased
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        size = channels // groups
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_cov", torch.zeros(groups, size, size))
        self.register_buffer("average_weight", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        channels = self.running_mean.numel()
        rows = x.reshape(x.shape[0], channels, -1).transpose(0, 1).flatten(1)  # (C, N * S)
        mean = rows.mean(1) if self.training else self.running_mean
        centred = (rows - mean[:, None]).reshape(self.groups, -1, rows.shape[1])
        cov = centred @ centred.mT / max(1, rows.shape[1]) if self.training else self.running_cov
        if self.training and rows.numel():
            self.average(mean.detach(), cov.detach(), rows.shape[1])
        values, vectors = torch.linalg.eigh(cov + self.eps * torch.eye(cov.shape[-1], dtype=x.dtype, device=x.device))
        whitening = (vectors * torch.rsqrt(values.clamp(min=self.eps))[:, None, :]) @ vectors.mT
        y = (whitening @ centred).reshape(channels, x.shape[0], -1).transpose(0, 1)
        if self.weight is not None and self.bias is not None:
            y = y * self.weight[:, None] + self.bias[:, None]
        return y.reshape(x.shape)

    @torch.no_grad()
    def average(self, mean: Tensor, cov: Tensor, count: int) -> None:
        """Move the running average by the statistics of a batch with `count` values per channel."""
        if self.unbiased and count > 1:
            cov = cov * (count / (count - 1))
        total = self.momentum * self.average_weight + self.new
        old, new = self.momentum * self.average_weight / total, self.new / total
        self.running_mean.copy_(old * self.running_mean + new * mean)
        self.running_cov.copy_(old * self.running_cov + new * cov)
        self.average_weight.copy_(total)


class NoisyBN(nn.Module):
    """Noise on each channel and element in train(), as behind a batch normalisation; eval() copies."""

    def __init__(self, shift: float, scale: tuple[float, float], shift_spread: float, scale_std: float) -> None:
        super().__init__()
        self.shift, self.scale, self.shift_spread, self.scale_std = shift, scale, shift_spread, scale_std

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        channels = x.shape[1] if x.dim() > 1 else 1
        rows = x.reshape(x.shape[0], channels, -1)
        low, high = self.scale
        mu = (2 * torch.rand(channels, 1, dtype=x.dtype, device=x.device) - 1) * self.shift
        sigma = low + (high - low) * torch.rand(channels, 1, dtype=x.dtype, device=x.device)
        shift = mu + (2 * torch.rand_like(rows) - 1) * self.shift_spread
        return (rows * (sigma + self.scale_std * torch.randn_like(rows)) + shift).reshape(x.shape)
