"""The best test of a run: by the accuracy of the first test net, by its loss where it has no accuracy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dragon.graph.facts import accuracy_names
from dragon.graph.net import Net
from dragon.graph.outputs import format_value, loss_weight
from dragon.tools.observers.metrics import Record

__all__ = ["Score", "best_of", "score_of"]


@dataclass(frozen=True)
class Score:
    """The value of an output in the test at an iteration. accuracy: whether larger is better."""

    name: str
    value: float
    accuracy: bool
    iteration: int

    def better(self, other: Score | None) -> bool:
        """Whether this one is better than `other`; an equal one is not."""
        if other is None:
            return True
        return self.value > other.value if self.accuracy else self.value < other.value

    def __str__(self) -> str:
        return f"{self.name} {100 * self.value:.2f} %" if self.accuracy else f"{self.name} {format_value(self.value)}"


def score_of(net: Net, outputs: Mapping[str, Any], iteration: int) -> Score | None:
    """The score of a test: its first accuracy that is one number, or its first loss. None without a finite one."""
    names = [(name, True) for name in accuracy_names(net)]
    names += [(name, False) for name in net.outputs if loss_weight(net, name) > 0]
    for name, accuracy in names:
        value = outputs.get(name)
        if value is not None and np.size(value) == 1:
            number = float(np.ravel(value)[0])
            return Score(name, number, accuracy, iteration) if math.isfinite(number) else None
    return None


def best_of(net: Net, records: Iterable[Record]) -> Score | None:
    """The best score among the records of metrics.jsonl, the first of equal ones; None without a test."""
    best: Score | None = None
    for record in records:
        outputs = record.get("outputs")
        if record["event"] == "test" and record.get("net") == 0 and isinstance(outputs, dict):
            numbers = {name: value for name, value in outputs.items() if isinstance(value, (int, float))}
            score = score_of(net, numbers, record["iteration"])
            if score is not None and score.better(best):
                best = score
    return best
