"""Losses with Caffe's normalisers."""

import torch
from torch import Tensor
from torch.nn import functional as F


def normalizer(mode: str, outer: int, count: int, valid: Tensor | int, fixed: float) -> Tensor | float:
    """What a sum of losses is divided by: outer is the batch size, count the labels, valid those not ignored."""
    if mode == "VALID" and isinstance(valid, Tensor):
        return valid.clamp(min=1)
    size = {"FULL": count, "VALID": valid, "BATCH_SIZE": outer, "PRE_FIXED": fixed}.get(mode, 1)
    return max(1.0, float(size))


def softmax_loss(
    x: Tensor, label: Tensor, axis: int, mode: str, ignore: int | None, fixed: float, weights: list[float]
) -> Tensor:
    """-log(softmax(x)[label]) along `axis`, summed and divided as `mode` says."""
    outer = x.shape[:axis].numel()
    scores = x.movedim(axis, -1).flatten(0, -2) if x.dim() > 1 else x[None]
    label = label.flatten().long()
    valid: Tensor | int = label.numel()
    if ignore is not None:
        valid = (label != ignore).sum()
        scores = torch.where((label != ignore)[:, None], scores, 0)  # what is ignored may be NaN
    factors = torch.tensor(weights, dtype=x.dtype, device=x.device) if weights else None
    total = F.cross_entropy(scores, label, factors, ignore_index=-100 if ignore is None else ignore, reduction="sum")
    return total / normalizer(mode, outer, label.numel(), valid, fixed)


def infogain_loss(
    x: Tensor, label: Tensor, gain: Tensor, axis: int, mode: str, ignore: int | None, fixed: float
) -> Tensor:
    """-sum_k H[label, k] log(softmax(x)_k), divided as `mode` says."""
    outer = x.shape[:axis].numel()
    label = label.flatten().long()
    counted = torch.ones_like(label) if ignore is None else (label != ignore).long()
    scores = torch.where(counted[:, None] != 0, x.movedim(axis, -1).flatten(0, -2), 0)
    logs = F.log_softmax(scores, 1).clamp(min=-46.0517)  # log(1e-20)
    rows = gain.reshape(logs.shape[1], -1)[label * counted] * counted[:, None]
    return -(rows * logs).sum() / normalizer(mode, outer, label.numel(), counted.sum(), fixed)


def sigmoid_cross_entropy_loss(x: Tensor, target: Tensor, mode: str, ignore: int | None, fixed: float) -> Tensor:
    """The binary cross-entropy of sigmoid(x), divided as `mode` says."""
    target = target.reshape(x.shape).to(x.dtype)
    valid: Tensor | int = x.numel()
    if ignore is not None:
        x = torch.where(target != ignore, x, 0)
        valid = (target != ignore).sum()
    losses = F.binary_cross_entropy_with_logits(x, target, reduction="none")
    if ignore is not None:
        losses = losses * (target != ignore)
    return losses.sum() / normalizer(mode, x.shape[0], x.numel(), valid, fixed)


def hinge_loss(x: Tensor, label: Tensor, squared: bool) -> Tensor:
    """One-against-all hinge loss, divided by the batch size."""
    x = x.flatten(1)
    sign = torch.ones_like(x).scatter(1, label.long().reshape(-1, 1), -1.0)
    excess = (1 + sign * x).clamp(min=0)
    return (excess.square() if squared else excess).sum() / max(1, x.shape[0])


def multinomial_logistic_loss(prob: Tensor, label: Tensor) -> Tensor:
    """-log(prob[label]), divided by the batch size."""
    picked = prob.flatten(1).gather(1, label.long().reshape(-1, 1))
    return -picked.clamp(min=1e-20).log().sum() / max(1, prob.shape[0])


def smooth_l1_loss(a: Tensor, b: Tensor, inside: Tensor | None, outside: Tensor | None, beta: float) -> Tensor:
    """Quadratic below beta, linear above; divided by the batch size."""
    difference = a - b.reshape(a.shape)
    if inside is not None:
        difference = difference * inside.reshape(a.shape)
    losses = F.smooth_l1_loss(difference, torch.zeros_like(difference), reduction="none", beta=beta)
    if outside is not None:
        losses = losses * outside.reshape(a.shape)
    return losses.sum() / max(1, a.shape[0])


def contrastive_loss(a: Tensor, b: Tensor, similar: Tensor, margin: float, legacy: bool) -> Tensor:
    """Draws similar pairs together and pushes others `margin` apart (Hadsell, Chopra & LeCun 2006)."""
    squared = (a - b.reshape(a.shape)).flatten(1).square().sum(1)
    if legacy:
        apart = (margin - squared).clamp(min=0)
    else:
        # Caffe adds 1e-4 to the distance that the gradient is divided by, so it is finite at 0
        distance = squared.detach().sqrt()
        gap = (margin - distance).clamp(min=0)
        slope = -gap / (distance + 1e-4) * squared
        apart = gap.square() + slope - slope.detach()
    return torch.where(similar.flatten() != 0, squared, apart).sum() / (2 * max(1, a.shape[0]))


def flow_loss(d: Tensor, length: bool, prescale: bool, by_entries: bool, epsilon: float, plateau: float) -> Tensor:
    """FlowNet's loss of differences, of which NaN and those below `plateau` count as 0."""
    known = ~d.isnan()
    d = torch.where(known, d, 0)
    if length:
        square = d.square().sum(1) / (d.shape[1] if prescale else 1)
        total = torch.sqrt(torch.where(square >= plateau**2, square, 0) + epsilon).sum()
    else:
        total = torch.where(d.abs() >= plateau, d.abs(), 0).sum()
    if by_entries:
        return total / (known.sum() / d.shape[1]).clamp(min=1)
    return total / max(1, d.shape[0])


def focal_loss(
    x: Tensor, label: Tensor, axis: int, alpha: float, gamma: float, mode: str, ignore: int | None, fixed: float
) -> Tensor:
    """-alpha (1 - p)^gamma log(p) with p = softmax(x)[label] along `axis`, divided as `mode` says."""
    label = label.flatten().long()
    counted = torch.ones_like(label) if ignore is None else (label != ignore).long()
    logs = F.log_softmax(torch.where(counted[:, None] != 0, x.movedim(axis, -1).flatten(0, -2), 0), 1)
    own = logs.gather(1, (label * counted)[:, None])[:, 0]
    losses = -alpha * (1 - own.exp()).clamp(min=1e-37) ** gamma * own * counted
    valid = label.numel() if ignore is None else counted.sum()
    return losses.sum() / normalizer(mode, x.shape[:axis].numel(), label.numel(), valid, fixed)


def binary_focal_loss(
    x: Tensor, target: Tensor, alpha: float, gamma: float, mode: str, ignore: int | None, fixed: float
) -> Tensor:
    """The same of each value by itself, with p = sigmoid(x) for targets 1 and 1 - sigmoid(x) for targets 0."""
    target = target.reshape(x.shape)
    counted = torch.ones_like(x) if ignore is None else (target != ignore).to(x.dtype)
    x = torch.where(counted != 0, x, 0)
    logs = F.logsigmoid(torch.where(target == 1, x, -x))
    weight = torch.where(target == 1, alpha, 1 - alpha) * counted
    losses = -weight * (1 - logs.exp()).clamp(min=1e-37) ** gamma * logs
    valid = x.numel() if ignore is None else counted.sum()
    return losses.sum() / normalizer(mode, x.shape[0], x.numel(), valid, fixed)


def triplet_loss(a: Tensor, p: Tensor, n: Tensor, margin: float) -> Tensor:
    """max(margin + |a - p|^2 - |a - n|^2, 0) / 2, divided by the batch size."""
    near, far = ((a - other.reshape(a.shape)).flatten(1).square().sum(1) for other in (p, n))
    return (margin + near - far).clamp(min=0).sum() / (2 * max(1, a.shape[0]))
