"""`dragon time`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dragon.bases.layer import TRAIN
from dragon.graph.net import Net
from tests.tools.conftest import Dragon


def test_time(work: Path, dragon: Dragon) -> None:
    result = dragon("time", "-model", "net.prototxt", "-iterations", "2", "--engine", "numpy")
    assert result.code == 0
    shares = [float(share) for share in re.findall(r" ([\d.]+)%", result.out)]
    assert shares[-1] == 100
    assert sum(shares[:-1]) == pytest.approx(100, abs=0.5)
    for words in ("Forward pass", "Backward pass", "Forward-Backward"):
        assert re.search(rf"Average {words}: [\d.]+ ms\.", result.out), words
    assert "Average Update" not in result.out
    assert int(re.findall(r"Peak memory of the process: ([\d,]+) MiB", result.out)[0].replace(",", "")) > 10
    forward = dragon("time", "--model", "net.prototxt", "--iterations", "1", "--no-backward", "--phase", "TEST").out
    assert "Backward" not in forward
    assert "phase TEST" in forward
    assert "Accuracy" in forward
    assert "Average Update" in dragon("time", "--solver", "solver.prototxt", "--iterations", "1").out


def test_time_shows_windows_shapes_and_the_spread(work: Path, dragon: Dragon) -> None:
    out = dragon("time", "-model", "net.prototxt", "-iterations", "3", "--engine", "numpy").out
    number = r"\d+\.\d{3}"
    times = rf"({number}) +({number}) to ({number})"
    found = re.search(rf"^conv +Convolution +5x5 +4 +8x4x5x5 +{times} +{times} ", out, re.MULTILINE)
    assert found is not None, out
    mean, least, p90, *_ = map(float, found.groups())
    assert least <= mean
    assert least <= p90
    assert re.search(rf"^bn +BN +8x4x5x5 +{number} ", out, re.MULTILINE)
    spread = r"\(median [\d.]+, min [\d.]+, 90 % within [\d.]+\)"
    assert re.search(rf"^Average Forward pass: [\d.]+ ms\. {spread}$", out, re.MULTILINE)


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
def test_times_of_each_run(work: Path, engine: str) -> None:
    with Net("net.prototxt", phase=TRAIN, engine=engine) as net:
        for layer in net.executor.profile(3):
            for mean, runs in ((layer.forward_ms, layer.forward_runs), (layer.backward_ms, layer.backward_runs)):
                assert len(runs) in (0, 3)
                assert mean == pytest.approx(sum(runs) / 3)
