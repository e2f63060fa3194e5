"""The measurement of the host's time for a step runs, and what it measures is a replayed graph."""

from __future__ import annotations

import pytest

from benchmarks import gpu_host
from dragon.engines.cuda.device.graphs import Captured
from tests.engines.cuda.emulation.compiler import find_compiler


@pytest.mark.skipif(find_compiler() is None, reason="g++ is not installed: kernels cannot be emulated")
def test_a_replayed_step_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    replays = []
    replay = Captured._replay

    def counted(self: Captured) -> None:
        replays.append(self)
        replay(self)

    monkeypatch.setattr(Captured, "_replay", counted)
    assert gpu_host.main(["--net", "cifar10_quick_bn_merged", "--steps", "3"]) == 0
    assert len(replays) >= 3
    shown = capsys.readouterr().out
    assert shown.startswith("cifar10_quick_bn_merged: ")
    assert shown.endswith(" us of the host for a step\n")
