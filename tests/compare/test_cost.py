"""The time of a training step as series and metrics of an experiment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dragon.compare import compare, cost, measurements
from dragon.compare.cost import PARTS, measure_cost
from dragon.compare.progress import PlainDisplay
from dragon.compare.reading import read_experiment
from dragon.errors import UsageError
from dragon.graph.net import Net
from dragon.proto.definition import Definition
from dragon.proto.text import read_net

TAIL = """
seeds: [1, 2]
cost:
  seconds: 0.01
  settings:
    numpy: {engine: numpy}
    usual: {}
metrics:
  ms: {series: cost/numpy/step, take: median}
  forward: {series: cost/usual/forward, take: min}
contrasts:
  - {metric: ms, of: {variant: merged}, against: {variant: plain}, scale: ratio, expect: "> 0.001"}
"""


@pytest.fixture
def timed(comparison: Path) -> Path:
    comparison.write_text(comparison.read_text().replace("equal: [split, merged]\n", "") + TAIL)
    return comparison


@pytest.mark.usefixtures("workers_here")
def test_the_times_are_metrics(timed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "PAIR_S", 0.05)
    compare(timed, tmp_path / "out", engine="numpy", jobs=1, display=PlainDisplay())
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    for cell in results["cells"]:
        assert len(cell["metrics"]["ms"]["values"]) == 2
        assert all(value > 0 for value in cell["metrics"]["ms"]["values"])
        assert cell["metrics"]["forward"]["mean"] > 0
    (contrast,) = results["contrasts"]
    assert contrast["n"] == 2
    assert contrast["mean"] > 0
    assert len(list((tmp_path / "out" / "runs").glob("cost_*.json"))) == 2


def test_a_median_and_the_parts_of_a_step(comparison: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(comparison.parent)
    ticks = iter(range(10_000))
    order: list[int] = []
    step = cost._step

    def counted(net: Net) -> tuple[float, float, float]:
        order.append(id(net))
        return step(net)

    monkeypatch.setattr(cost, "_step", counted)
    monkeypatch.setattr("dragon.compare.cost.time.perf_counter", lambda: next(ticks))
    data = read_experiment(comparison).dataset
    assert data is not None
    nets = [Definition(read_net(comparison.parent / f"{name}.prototxt")) for name in ("plain", "merged", "split")]
    for net in nets:
        for layer in net.message.layer:
            if layer.type == "Data":
                layer.data_param.source = f"{data}/{layer.data_param.source}"
                layer.transform_param.mean_file = f"{data}/mean.binaryproto"
    setting = {"name": "a", "engine": "numpy", "precision": "fp32", "fuse": True}
    found = measure_cost(nets, 1, [setting], 1.0)
    assert [sorted(series) for series in found] == [sorted(f"cost/a/{part}" for part in PARTS)] * 3
    for series in found:
        assert series["cost/a/forward"] == ([1, 2, 3, 4, 5], [1000.0] * 5)  # a tick of the clock is a second
        assert series["cost/a/step"][1] == [2000.0] * 5
    names = {one: k for k, one in enumerate(dict.fromkeys(order))}
    rounds = [names[one] for one in order][6:]
    assert [rounds[i : i + 3] for i in range(0, 9, 3)] == [[0, 1, 2], [1, 2, 0], [2, 0, 1]]


def test_a_setting_that_the_machine_lacks_is_left_out(comparison: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(str(read_experiment(comparison).dataset)))
    net = Definition(read_net(comparison.parent / "plain.prototxt"))
    usual = {"name": "usual", "engine": "numpy", "precision": "fp32", "fuse": True}
    (found,) = measure_cost([net], 1, [{**usual, "name": "half", "precision": "fp16"}, usual], 0.001)
    assert {name.split("/")[1] for name in found} == {"usual"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("engine: numpy", "engine: nunpy", "nunpy"),
        ("engine: numpy", "precision: fp8", "fp8"),
        ("engine: numpy", "fused: true", "fused"),
        ("    numpy: {engine: numpy}\n    usual: {}\n", "    {}\n", "must be a mapping"),
        ("seconds: 0.01", "seconds: -1", "seconds"),
    ],
)
def test_mistakes_are_one_line(timed: Path, old: str, new: str, message: str) -> None:
    timed.write_text(timed.read_text().replace(old, new))
    with pytest.raises(UsageError, match=message) as caught:
        read_experiment(timed)
    assert "\n" not in str(caught.value)


def test_a_series_that_is_not_measured(timed: Path, tmp_path: Path) -> None:
    timed.write_text(timed.read_text().replace("cost/usual/forward", "cost/usal/forward"))
    with pytest.raises(UsageError, match='no run has "cost/usal/forward"'):
        compare(timed, tmp_path / "out", engine="numpy", jobs=1, display=PlainDisplay())
