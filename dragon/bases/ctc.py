"""Connectionist temporal classification (Graves et al. 2006): likelihoods of label sequences, and the best path.

A path gives each step of a sequence one class. It reads as the label that remains when repeated classes are merged and
blanks are left out. Arrays are NumPy's or CuPy's; loops go over steps and positions of labels, never over sequences.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["Alignments", "best_path", "edit_distance", "log_softmax", "packed", "sequence_lengths"]

NEVER = -1e30  # stands for log 0: differences of it are not NaN, as those of -inf are


def packed(labels: Array, counted: Array) -> tuple[Array, Array]:
    """The counted values of each row of `labels` (N, L) moved to the front of the row, and their number (N)."""
    xp = xp_of(labels)
    width = labels.shape[1]
    order = xp.argsort(xp.where(counted, 0, width) + xp.arange(width), axis=1)
    return xp.take_along_axis(labels, order, axis=1), counted.sum(axis=1)


def sequence_lengths(cont: Array) -> Array:
    """Steps (N) of the sequences that begin at step 0; cont (T, N) is 0 where another one begins."""
    xp = xp_of(cont)
    ended = xp.cumsum(cont[1:] < 0.5, axis=0) > 0
    lengths: Array = 1 + (~ended).sum(axis=0)
    return lengths


def log_softmax(scores: Array) -> Array:
    """The logarithm of the softmax of scores (T, N, C) over the classes."""
    xp = xp_of(scores)
    shifted = scores - scores.max(axis=2, keepdims=True)
    logs: Array = shifted - xp.log(xp.exp(shifted).sum(axis=2, keepdims=True))
    return logs


class Alignments:
    """All paths that read as given labels, by dynamic programming in log space and float64.

    scores: (T, N, C), before the softmax. labels: (N, L), classes of which the first counts[n] belong to sequence n.
    lengths: steps (N) of each sequence, None: all T. merge: whether repeated classes of a path are merged; if not, a
    label takes one step, and blanks may still stand between labels.
    """

    def __init__(
        self, scores: Array, labels: Array, counts: Array, blank: int, lengths: Array | None = None, merge: bool = True
    ) -> None:
        self.xp = xp_of(scores)
        if isinstance(labels, np.ndarray):  # the host knows the longest label
            labels = labels[:, : counts.max(initial=0)]
        self.labels, self.counts, self.blank, self.lengths, self.merge = labels, counts, blank, lengths, merge
        self.steps, self.n, _ = scores.shape
        self.states = 2 * labels.shape[1] + 1  # blank, label, blank, ..., label, blank
        self.dtype = np.float64 if scores.dtype == np.float64 else np.float32
        self.log_probabilities = log_softmax(scores.astype(self.dtype, copy=False))

    @cached_property
    def _emitted(self) -> Array:
        """Log-probability of the class of each state at each step, (T, N, states)."""
        xp, rows = self.xp, self.xp.arange(self.n)[:, None]
        classes = xp.full((self.n, self.states), self.blank, dtype="int64")
        classes[:, 1::2] = self.labels
        found: Array = xp.maximum(self.log_probabilities[:, rows, classes].astype("float64"), NEVER)
        return found

    @cached_property
    def _skip(self) -> Array:
        """0 where a state may follow the one two before it, a label behind another label; else NEVER; (N, states)."""
        xp = self.xp
        found: Array = xp.full((self.n, self.states), NEVER)
        same = self.labels[:, 1:] == self.labels[:, :-1]
        found[:, 3::2] = xp.where(same & self.merge, NEVER, 0.0)
        return found

    @cached_property
    def _stay(self) -> Array | float:
        """What it costs to stay in a state for another step: NEVER for labels that are not merged."""
        if self.merge:
            return 0.0
        found: Array = self.xp.zeros((1, self.states))
        found[:, 1::2] = NEVER
        return found

    @cached_property
    def _until(self) -> Array:
        """Log-likelihood of all beginnings of paths that are in a state at a step, (T, N, states)."""
        xp, emitted, skip, stay = self.xp, self._emitted, self._skip, self._stay
        found: Array = xp.full(
            (self.steps, self.n, 2 + self.states), NEVER
        )  # two states that are never reached, in front
        found[0, :, 2:4] = emitted[0, :, :2]
        for t in range(1, self.steps):
            before = found[t - 1]
            now = xp.logaddexp(before[:, 2:] + stay, before[:, 1:-1])
            now = xp.logaddexp(now, before[:, :-2] + skip) + emitted[t]
            if self.lengths is not None:
                now = xp.where(self.lengths[:, None] > t, now, before[:, 2:])
            found[t, :, 2:] = now
        return found[:, :, 2:]

    @cached_property
    def _from(self) -> Array:
        """Log-likelihood of all ends of paths that were in a state at a step, (T, N, states)."""
        xp, emitted, stay = self.xp, self._emitted, self._stay
        skip = xp.full((self.n, self.states), NEVER)
        skip[:, :-2] = self._skip[:, 2:]
        last = xp.full((self.n, self.states), NEVER)
        place, end = xp.arange(self.states)[None], 2 * self.counts[:, None]
        last = xp.where((place == end) | (place == end - 1), 0.0, last)
        found: Array = xp.full((self.steps, self.n, self.states + 2), NEVER)
        found[-1, :, :-2] = last
        for t in reversed(range(self.steps - 1)):
            after = found[t + 1].copy()
            after[:, :-2] += emitted[t + 1]
            now = xp.logaddexp(after[:, :-2] + stay, after[:, 1:-1])
            now = xp.logaddexp(now, after[:, 2:] + skip)
            if self.lengths is not None:
                now = xp.where(self.lengths[:, None] - 1 > t, now, last)
            found[t, :, :-2] = now
        return found[:, :, :-2]

    @cached_property
    def _log_likelihood(self) -> Array:
        """The logarithm of the likelihood of each label (N), about NEVER where no path reads as it."""
        xp, end = self.xp, 2 * self.counts[:, None]
        last = self._until[-1]
        with_label = xp.take_along_axis(last, xp.maximum(end - 1, 0), axis=1)
        both: Array = xp.logaddexp(xp.take_along_axis(last, end, axis=1), xp.where(end > 0, with_label, NEVER))
        return both[:, 0]

    @cached_property
    def possible(self) -> Array:
        """Whether a path reads as the label (N): the sequence has a step for each label and between equal ones."""
        found: Array = ~(self._log_likelihood < NEVER / 2)  # NaN is possible
        return found if self.lengths is None else found & (self.lengths > 0)

    @cached_property
    def losses(self) -> Array:
        """-log likelihood of each label (N), float64; 0 where no path reads as it."""
        found: Array = self.xp.where(self.possible, -self._log_likelihood, 0.0)
        return found

    def gradient(self) -> Array:
        """The gradient of the sum of `losses` by the scores, (T, N, C), zero where a sequence has ended."""
        xp, rows = self.xp, self.xp.arange(self.n)
        shares = xp.exp(self._until + self._from + self.losses[:, None])  # of the likelihood that pass through a state
        # a NaN of a class that only fills the label up does not count
        shares = xp.where(xp.arange(self.states) <= 2 * self.counts[:, None], shares, 0)
        found = xp.exp(self.log_probabilities)
        found[:, :, self.blank] -= shares[:, :, ::2].sum(axis=2).astype(self.dtype)
        for place in range(self.labels.shape[1]):
            found[:, rows, self.labels[:, place]] -= shares[:, :, 2 * place + 1].astype(self.dtype)
        alive = xp.broadcast_to(self.possible, (self.steps, self.n))
        if self.lengths is not None:
            alive = alive & (xp.arange(self.steps)[:, None] < self.lengths)
        gradient: Array = xp.where(alive[:, :, None], found, 0)
        return gradient


def best_path(
    scores: Array, blank: int, lengths: Array | None = None, merge: bool = True
) -> tuple[Array, Array, Array]:
    """What the most probable path of each sequence reads as, from scores (T, N, C).

    Gives the labels (N, T) with -1 behind the last one, their number (N), and the sum of the highest scores of all
    steps (N). lengths, merge: as in `Alignments`.
    """
    xp = xp_of(scores)
    steps = scores.shape[0]
    best, highest = scores.argmax(axis=2), scores.max(axis=2)
    counted = best != blank
    if merge:
        counted[1:] &= best[1:] != best[:-1]
    if lengths is not None:
        alive = xp.arange(steps)[:, None] < lengths
        counted &= alive
        highest = xp.where(alive, highest, 0)
    labels, counts = packed(best.T, counted.T)
    return xp.where(xp.arange(steps) < counts[:, None], labels, -1), counts, highest.sum(axis=0)


def edit_distance(first: Array, second: Array, first_counts: Array, second_counts: Array) -> Array:
    """How many labels must be changed, added or removed to make one sequence the other (N); Levenshtein 1966.

    first: (N, I), of which the first first_counts[n] values count. second: (N, J).
    """
    xp = xp_of(first)
    n, rows, columns = first.shape[0], first.shape[1], second.shape[1]
    place = xp.arange(rows + 1)
    far = rows + columns + 1
    two_before, before = (xp.full((n, rows + 2), far) for _ in range(2))  # diagonals of the table, one column in front
    found: Array = xp.zeros(n, dtype="int64")
    mine = xp.concatenate([xp.full((n, 1), -1), first], axis=1)
    for diagonal in range(rows + columns + 1):
        column = diagonal - place
        other = xp.concatenate([xp.full((n, 1), -2), second], axis=1)[:, xp.clip(column, 0, columns)]
        now = xp.minimum(xp.minimum(before[:, 1:], before[:, :-1]) + 1, two_before[:, :-1] + (mine != other))
        now = xp.where((place == 0) | (column == 0), diagonal, now)
        now = xp.where((column < 0) | (column > columns), far, now)
        here = xp.take_along_axis(now, first_counts[:, None], axis=1)[:, 0]
        found = xp.where(first_counts + second_counts == diagonal, here, found)
        two_before, before = before, xp.concatenate([xp.full((n, 1), far), now], axis=1)
    return found
