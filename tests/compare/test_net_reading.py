"""A plan reads each net once, and the next plan reads it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dragon.compare.plan import make_plan
from dragon.compare.reading import read_experiment
from dragon.proto.text import read_net_definition


def test_a_plan_reads_a_net_once_and_the_next_one_again(comparison: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counted(path: str, **settings: Any) -> Any:
        read.append(Path(path).name)
        return read_net_definition(path, **settings)

    monkeypatch.setattr("dragon.compare.build.read_net_definition", counted)
    comparison.write_text(comparison.read_text() + "learning_rates: [0.1, 0.01, 0.001]\n")
    names = ["merged.prototxt", "plain.prototxt", "split.prototxt"]
    before = make_plan(read_experiment(comparison), "numpy", "fp32")
    assert sorted(read) == names
    assert len({run.id for run in before.runs}) == 9
    net = comparison.with_name("plain.prototxt")
    net.write_text(net.read_text().replace("stride: 3", "stride: 4"))
    after = make_plan(read_experiment(comparison), "numpy", "fp32")
    assert sorted(read) == sorted([*names, *names])
    changed = [one.variant for one, other in zip(before.runs, after.runs, strict=True) if one.id != other.id]
    assert changed == ["plain"] * 3
