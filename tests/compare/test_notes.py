"""What is said before the runs about keys that have less effect than they seem."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragon.compare.notes import notes
from dragon.compare.plan import make_plan
from dragon.compare.reading import read_experiment


@pytest.mark.parametrize(
    ("line", "note"),
    [
        (
            "statistics: [global, {exact: 100000}]",
            '"statistics": exact ones are over 100,000 images, and the training set has {images}: '
            "{{exact: {images}}} reads each once",
        ),
        (
            "metrics: {late: {series: test/accuracy, take: at, iter: 5000}}",
            '"metrics.late.iter" is 5,000, and the longest runs take 10 iterations: their end counts',
        ),
        (
            "metrics: {late: {series: train/loss, take: ratio, from: 1, to: 100}}",
            '"metrics.late.to" is 100, and the longest runs take 10 iterations: their end counts',
        ),
        (
            "quick: {seeds: [1], stop: {chance: {accuracy: 0.1, at: 99}}}",
            '"stop.chance.at" is 99, and the longest run takes 10 iterations: no run is stopped',
        ),
        ("set: {gamma: 0.5}", '"set.gamma": gamma has no effect with lr_policy fixed, in variant "plain"'),
        (
            "factors: {power: [1, 2]}",
            '"factors.power": power has no effect with lr_policy fixed, in variant "plain"',
        ),
        ("set: {gamma: 0.5, lr_policy: exp}", ""),
        (
            "set: {momentum: 1.5}",
            '"set.momentum": momentum is 1.5: steps grow without end; it is below 1, in variant "plain"',
        ),
        ("metrics: {late: {series: train/loss, take: mean, from: 10%, to: 90%}}", ""),
        ("statistics: [global, {exact: 1}]", ""),
    ],
)
def test_a_note_is_one_line_with_its_place(comparison: Path, line: str, note: str) -> None:
    text = comparison.read_text()
    comparison.write_text(f"{text}{line}\n")
    plan = make_plan(read_experiment(comparison, quick=True), "numpy", "fp32")
    place = f"{comparison}:{text.count(chr(10)) + 1}: "
    images = 200
    assert notes(plan) == ([place + note.format(images=images)] if note else [])
