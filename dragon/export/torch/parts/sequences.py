"""Label sequences: the CTC loss, the most probable path, and how near two sequences are."""

import torch
from torch import Tensor
from torch.nn import functional as F

from dragon.export.torch.parts.losses import normalizer


def sequence_lengths(cont: Tensor) -> Tensor:
    """Steps (N) of the sequences that begin at step 0; cont (T, N) is 0 where another one begins."""
    return 1 + ((cont.flatten(1)[1:] < 0.5).cumsum(0) == 0).sum(0)


def packed(labels: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """The counted values of each row of labels (N, L) moved to its front, and their number (N)."""
    order = torch.argsort((~counted).long(), dim=1, stable=True)
    return labels.gather(1, order), counted.sum(1)


def label_rows(
    labels: Tensor, blank: int, counts: Tensor | None = None, collapse: bool = False
) -> tuple[Tensor, Tensor]:
    """Labels (N, L) without blanks and negative values, and their number; counts (N): how many of a row are read."""
    labels = labels.flatten(1).round().long()
    counted = (labels >= 0) & (labels != blank)
    places = torch.arange(labels.shape[1], device=labels.device)
    if counts is not None:
        counted &= places < counts.flatten()[:, None]
    labels, sizes = packed(labels, counted)
    if collapse:
        counted = places < sizes[:, None]
        counted[:, 1:] &= labels[:, 1:] != labels[:, :-1]
        labels, sizes = packed(labels, counted)
    return labels, sizes


def unmerged_ctc_losses(logs: Tensor, labels: Tensor, counts: Tensor, lengths: Tensor, blank: int) -> Tensor:
    """-log P(label) of each sequence where each label takes one step."""
    state = logs.new_full((labels.shape[0], labels.shape[1] + 1), -1e30)  # by the number of labels so far
    state[:, 0] = 0
    for t, log in enumerate(logs):
        moved = F.pad(state[:, :-1] + log.gather(1, labels.clamp(min=0)), (1, 0), value=-1e30)
        state = torch.where(lengths[:, None] > t, torch.logaddexp(state + log[:, blank, None], moved), state)
    losses = -state.gather(1, counts[:, None])[:, 0]
    return torch.where(losses < 1e29, losses, 0)


def ctc_loss(
    x: Tensor, labels: Tensor, counts: Tensor, lengths: Tensor | None, blank: int, merge: bool,
    mode: str | None = None, fixed: float = 1.0,
) -> Tensor:  # fmt: skip
    """-log P(label), summed and divided as `mode` says; with None the mean, whose gradient is that of the sum."""
    logs = F.log_softmax(x.flatten(2), dim=2)
    if lengths is None:
        lengths = torch.full_like(counts, x.shape[0])
    steps = lengths.clamp(min=1)
    if merge:
        losses = F.ctc_loss(logs, labels.clamp(min=0), steps, counts, blank, reduction="none", zero_infinity=True)
        inside = torch.arange(1, labels.shape[1], device=x.device) < counts[:, None]
        repeated = (labels[:, 1:] == labels[:, :-1]) & inside
        possible = (counts + repeated.sum(1) <= lengths) & (lengths > 0)
    else:
        losses = unmerged_ctc_losses(logs, labels, counts, steps, blank)
        possible = (counts <= lengths) & (lengths > 0)
    total, n = (losses * possible).sum(), x.shape[1]
    if mode is None:
        return (total / max(1, n)).detach() + (total - total.detach())
    return total / normalizer(mode, n, n, possible.sum(), fixed)


def best_path(x: Tensor, blank: int, merge: bool, cont: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """What the most probable path of scores (T, N, C) reads as, (N, T) filled up with -1; numbers; highest scores."""
    highest, best = x.flatten(2).max(dim=2)
    counted = best != blank
    if merge:
        counted[1:] &= best[1:] != best[:-1]
    places = torch.arange(x.shape[0], device=x.device)
    if cont is not None:
        alive = places[:, None] < sequence_lengths(cont)
        counted, highest = counted & alive, highest * alive
    labels, counts = packed(best.T, counted.T)
    return labels.masked_fill(places >= counts[:, None], -1), counts, highest.sum(0)


def edit_distance(a: Tensor, a_counts: Tensor, b: Tensor, b_counts: Tensor) -> Tensor:
    """How many labels must be changed, added or removed to make one sequence the other (N)."""
    row = torch.arange(b.shape[1] + 1, device=a.device).expand(a.shape[0], -1)
    rows = [row]
    for i in range(a.shape[1]):
        cells = [row[:, 0] + 1]
        for j in range(b.shape[1]):
            changed = row[:, j] + (a[:, i] != b[:, j])
            cells.append(torch.minimum(torch.minimum(row[:, j + 1], cells[-1]) + 1, changed))
        row = torch.stack(cells, dim=1)
        rows.append(row)
    table = torch.stack(rows, dim=1)
    return table[torch.arange(a.shape[0], device=a.device), a_counts, b_counts]


def reading_accuracies(found: Tensor, counts: Tensor, labels: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of 1 - edit distance / longer length, and the fraction of sequences without a fault."""
    distance = edit_distance(found, counts, labels, wanted)
    longer = torch.maximum(counts, wanted).clamp(min=1)
    return (1 - distance / longer).mean(), (distance == 0).double().mean()


def continuation(x: Tensor, going_on: Tensor | float = 0.0) -> Tensor:
    """Marks (T, N) for recurrent layers over x (T, N, ...): going_on at the first step, then 1."""
    cont = x.new_ones(x.shape[:2])
    cont[0] = going_on
    return cont
