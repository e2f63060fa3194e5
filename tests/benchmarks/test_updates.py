"""The benchmark of updates: Dragon's side computes the update that the solver describes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import updates, updates_ours
from dragon.proto.text import read_net

MODELS = Path(__file__).parents[2] / "models"


def test_shapes_are_those_of_the_zoo() -> None:
    assert updates_ours.shapes("lenet") == [
        [20, 1, 5, 5],
        [20],
        [50, 20, 5, 5],
        [50],
        [500, 800],
        [500],
        [10, 500],
        [10],
    ]
    for name in updates.NETS:
        assert read_net(MODELS / name / "deploy.prototxt").layer


@pytest.mark.parametrize("rule", updates.RULES)
def test_a_step_moves_against_the_gradient(rule: str) -> None:
    updates_ours.make([[30, 7], [30]], rule, 1)
    random = np.random.default_rng(0)
    values = [random.standard_normal(shape, np.float32) for shape in ((30, 7), (30, 7), 30, 30)]
    weights, gradients = ([float(one.flat[0]) for one in values[k::2]] for k in (0, 1))
    for before, after, gradient in zip(weights, updates_ours.answer(), gradients, strict=True):
        assert (before - after) * gradient > 0
