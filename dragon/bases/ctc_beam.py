"""The most probable labels of scores by prefix beam search (Graves 2012, section 7.5; Hannun et al. 2014).

The probability of a label is the sum over all paths that read as it. A path that reads as a label so far ends with a
blank or with the label's last class: the two sums are kept apart, since the last class once more makes a longer label
only behind a blank.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["beam_search"]

_NONE = -1


def beam_search(
    logs: NDArray[Any], blank: int, width: int, lengths: NDArray[Any] | None = None, merge: bool = True
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The most probable label of each sequence among those that are kept, from log-probabilities (T, N, C).

    width: labels that are kept from step to step. lengths, merge: as in `dragon.bases.ctc.Alignments`. Gives the labels
    (N, T) with -1 behind the last class, their number of classes (N), and minus the logarithm of their probability (N);
    NaN scores give an empty label and NaN.
    """
    steps, n, _ = logs.shape
    labels = np.full((n, steps), _NONE)
    counts, costs = np.zeros(n, np.int64), np.zeros(n)
    for i in range(n):
        beam = _Beam(blank, width, merge)
        with np.errstate(invalid="ignore"):  # NaN scores
            for step in range(steps if lengths is None else int(lengths[i])):
                beam.advance(logs[step, i])
        found, costs[i] = beam.best()
        counts[i] = len(found)
        labels[i, : len(found)] = found
    return labels, counts, costs


class _Beam:
    """The most probable labels of the steps so far. A label is a node of a tree: its last class, behind its parent."""

    def __init__(self, blank: int, width: int, merge: bool) -> None:
        self.blank, self.width, self.merge = blank, width, merge
        self.parents, self.classes = np.array([_NONE]), np.array([_NONE])  # of all nodes; node 0 is the empty label
        self.children: dict[tuple[int, int], int] = {}
        self.nodes = np.array([0])  # of the labels that are kept
        self.by_blank, self.by_class = np.zeros(1), np.full(1, -np.inf)  # log-probabilities, by how paths end

    def advance(self, logs: NDArray[Any]) -> None:
        """Go on by one step with the log-probabilities of the classes (C)."""
        total = np.logaddexp(self.by_blank, self.by_class)
        last = self.classes[self.nodes]
        begun = np.flatnonzero(last != _NONE)
        longer = total[:, None] + logs  # of each label with one class more
        longer[:, self.blank] = -np.inf
        stay_by_blank, stay_by_class = total + logs[self.blank], np.full(len(total), -np.inf)
        if self.merge:
            repeated = logs[last[begun]]
            stay_by_class[begun] = self.by_class[begun] + repeated
            longer[begun, last[begun]] = self.by_blank[begun] + repeated
        self._join(longer, stay_by_class, begun, last)
        candidates = np.concatenate([np.logaddexp(stay_by_blank, stay_by_class), longer.ravel()])
        chosen = _highest(candidates, self.width)
        chosen = chosen[candidates[chosen] > -np.inf]
        kept, new = chosen[chosen < len(total)], chosen[chosen >= len(total)] - len(total)
        added = self._add(*np.divmod(new, len(logs)))
        self.nodes = np.concatenate([self.nodes[kept], added])
        self.by_blank = np.concatenate([stay_by_blank[kept], np.full(len(new), -np.inf)])
        self.by_class = np.concatenate([stay_by_class[kept], longer.ravel()[new]])

    def best(self) -> tuple[list[int], float]:
        """The most probable label, and minus the logarithm of its probability."""
        if not len(self.nodes):
            return [], float("nan")
        total = np.logaddexp(self.by_blank, self.by_class)
        place = int(total.argmax())
        node, found = int(self.nodes[place]), []
        while node:
            found.append(int(self.classes[node]))
            node = int(self.parents[node])
        return found[::-1], -float(total[place])

    def _join(self, longer: NDArray[Any], stay: NDArray[Any], begun: NDArray[Any], last: NDArray[Any]) -> None:
        """Move what a label gains from its parent, if that is kept too, from the longer labels to the label itself."""
        place = np.full(len(self.parents), _NONE)
        place[self.nodes] = np.arange(len(self.nodes))
        parent = place[self.parents[self.nodes[begun]]]
        begun, parent = begun[parent != _NONE], parent[parent != _NONE]
        stay[begun] = np.logaddexp(stay[begun], longer[parent, last[begun]])
        longer[parent, last[begun]] = -np.inf

    def _add(self, places: NDArray[Any], classes: NDArray[Any]) -> NDArray[Any]:
        """The nodes of labels of the beam with one class more; a label that was dropped before gets its node again."""
        keys = list(zip(self.nodes[places].tolist(), classes.tolist(), strict=True))
        first = len(self.parents)
        unknown = [key for key in keys if key not in self.children]
        self.children |= {key: first + i for i, key in enumerate(unknown)}
        if unknown:
            self.parents, self.classes = (
                np.concatenate([old, new])
                for old, new in zip((self.parents, self.classes), np.array(unknown).T, strict=True)
            )
        return np.array([self.children[key] for key in keys], dtype=np.int64)


def _highest(values: NDArray[Any], count: int) -> NDArray[Any]:
    """The indices of the highest values, at most `count`, in their order."""
    if len(values) <= count:
        return np.arange(len(values))
    return np.sort(np.argpartition(-values, count)[:count])
