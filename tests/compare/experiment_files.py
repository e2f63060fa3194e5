"""An experiment file with factors, metrics and contrasts, its plan, and a display that keeps its lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dragon.compare.plan import Plan, make_plan
from dragon.compare.progress import PlainDisplay
from dragon.compare.reading import read_experiment

TAIL = """
factors:
  base_lr: [1e-3, 0.01]
  batch_size: [5, 20]
  eps:
    small: {layers: {BN: {batch_norm_param: {eps: 1e-10}}}}
    usual: {}
only: [{variant: merged}, {variant: split, eps: usual}, {variant: plain, eps: usual, batch_size: 20}]
equal_images: true
statistics: [global, batch, {exact: 40}]
test_on: [test, train]
metrics:
  area: {series: test/accuracy, take: mean}
  gap: {minus: [train_accuracy, accuracy]}
  best_rate: {of: accuracy, over: base_lr, take: argmax}
contrasts:
  - {metric: accuracy, of: {variant: merged, eps: small}, against: {variant: merged, eps: usual}, expect: "within 1"}
quick: {iterations: 5, factors: {base_lr: [0.01]}, only: [{variant: plain}], contrasts: [{metric: area, of: {}}]}
"""


def plan_of(path: Path, **settings: Any) -> Plan:
    return make_plan(read_experiment(path, **settings), "numpy", "fp32")


def add(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


class Silent(PlainDisplay):
    def __init__(self) -> None:
        self.lines: list[str] = []
        super().__init__(self.lines.append)

    @property
    def started(self) -> list[str]:
        return [line.partition(": started")[0] for line in self.lines if "iterations" in line and ": started" in line]


def results_of(report: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads(report.with_name("results.json").read_text())
    return results
