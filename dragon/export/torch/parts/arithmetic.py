"""Learned factors and biases over some axes, selections and scores."""

import torch
from torch import Tensor, nn


def along(value: Tensor, x: Tensor, axis: int) -> Tensor:
    """`value`, which has the axes of x from `axis` on, in a shape that is broadcast to x."""
    return value.reshape((*value.shape, *[1] * (x.dim() - axis - value.dim())))


class Affine(nn.Module):
    """y = x * weight + bias, both with the axes of x from `axis` on; either may be missing."""

    def __init__(self, shape: tuple[int, ...], axis: int, weight: bool = True, bias: bool = True) -> None:
        super().__init__()
        self.axis = axis
        self.weight = nn.Parameter(torch.ones(shape)) if weight else None
        self.bias = nn.Parameter(torch.zeros(shape)) if bias else None

    def forward(self, x: Tensor, factor: Tensor | None = None) -> Tensor:
        if factor is None:
            factor = self.weight
        if factor is not None:
            x = x * along(factor, x, self.axis)
        return x if self.bias is None else x + along(self.bias, x, self.axis)


class Embed(nn.Embedding):
    """A table of rows, which indices in floating point select, and a bias."""

    def __init__(self, rows: int, outputs: int, bias: bool) -> None:
        super().__init__(rows, outputs)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x.long())
        return y if self.bias is None else y + self.bias


def largest(x: Tensor, top_k: int, axis: int | None, values: bool) -> Tensor:
    """Indices or values of the largest elements, largest first; ties go to the higher index.

    Without `axis` each item is flattened, and values come as a second row.
    """
    rows, dim = (x.flatten(1), 1) if axis is None else (x, axis)
    order = torch.sort(rows.flip(dim), dim=dim, descending=True, stable=True).indices.narrow(dim, 0, top_k)
    index = rows.shape[dim] - 1 - order
    picked = rows.gather(dim, index)
    if axis is not None:
        return picked if values else index.to(x.dtype)
    found = torch.stack([index.to(x.dtype), picked], 1) if values else index.to(x.dtype)[:, None]
    return found.reshape(*found.shape, *[1] * (x.dim() - 3))


def top_k_hits(
    scores: Tensor, label: Tensor, top_k: int, axis: int, ignore: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Whether each label is among the best, the labels, and which of them count; equal scores count as better."""
    scores = scores.movedim(axis, -1).flatten(0, -2)
    label = label.flatten().long()
    counted = torch.ones_like(label, dtype=torch.bool) if ignore is None else label != ignore
    own = scores.gather(1, torch.where(counted, label, 0)[:, None])
    return ((~(scores < own)).sum(1) <= top_k) & counted, label, counted


def top_k_accuracy(scores: Tensor, label: Tensor, top_k: int, axis: int, ignore: int | None) -> Tensor:
    """The fraction of labels whose score is among the `top_k` highest."""
    hit, _, counted = top_k_hits(scores, label, top_k, axis, ignore)
    return hit.sum().to(scores.dtype) / counted.sum().clamp(min=1)


def top_k_class_accuracy(scores: Tensor, label: Tensor, top_k: int, axis: int, ignore: int | None) -> Tensor:
    """The accuracy of each class."""
    hit, label, counted = top_k_hits(scores, label, top_k, axis, ignore)
    classes = scores.shape[axis]
    right = torch.bincount(label[hit], minlength=classes)
    return right.to(scores.dtype) / torch.bincount(label[counted], minlength=classes).clamp(min=1)


def insanity(x: Tensor, low: float, high: float, mean: float, training: bool) -> Tensor:
    """Divides values below 0 by numbers drawn between `low` and `high` in training, else by `mean`."""
    divisor = torch.empty_like(x).uniform_(low, high) if training else mean
    return torch.where(x > 0, x, x / divisor)


def channel_scale(x: Tensor, factors: Tensor, multiplies: bool, scales_gradient: bool, learns: bool) -> Tensor:
    """Multiplies x by one factor for each item and position; the flags say in which directions."""
    factors = factors.reshape(x.shape[0], 1, *x.shape[2:])
    y = (x * factors if multiplies else x).detach()
    features = x * factors.detach() if scales_gradient else x
    y = y + (features - features.detach())
    if learns:
        product = x.detach() * factors
        y = y + (product - product.detach())
    return y
