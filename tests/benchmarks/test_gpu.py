"""The GPU benchmarks run from end to end on the emulated GPU at tiny sizes, without a peer."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks._harness import Series
from benchmarks.gpu import Plan, main
from benchmarks.gpu_training import OURS, PEERS, Case, aims
from tests.engines.cuda.conftest import cuda, emulated  # noqa: F401

TINY = Plan(
    nets=("lenet",), batches=(1,), deep=None, shapes=((2, 8, 4, 4), (16, 8)), rounds=1, block_ms=0.1,
    copied_megabytes=1, repeats=2,
)  # fmt: skip


@pytest.mark.usefixtures("emulated")
def test_tables_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["--out", str(tmp_path / "out")], TINY) == 0
    shown = capsys.readouterr().out
    assert "torch is missing: ours was timed without a peer" in shown
    facts = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert facts["torch"] is None
    assert any(line.startswith("torch is missing (PyTorch's side)") for line in facts["missing"])
    (measured,) = facts["training"]
    assert (measured["net"], measured["batch"]) == ("lenet", 1)
    assert list(measured["series"]) == list(OURS)
    assert all(series["min_ms"] > 0 for series in measured["series"].values())
    assert all("whole iteration: graph" in remarks for remarks in measured["remarks"].values())
    assert [(f["shape"], f["precision"]) for f in facts["normalization"]] == [
        ([2, 8, 4, 4], "fp32"), ([16, 8], "fp32"), ([2, 8, 4, 4], "bf16"), ([16, 8], "bf16"),
    ]  # fmt: skip
    assert all(f["forward_of_copy"] > 0 and f["split_over_merged"] > 0 for f in facts["normalization"])
    assert facts["aims"] == []
    written = (tmp_path / "out" / "gpu.md").read_text()
    for line in written.strip().split("\n\n"):
        assert line in shown
    assert "| lenet |" in written


@pytest.mark.usefixtures("emulated")
def test_what_does_not_run_is_told_and_the_rest_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(OURS, "dragon", ("fp12", False))
    assert main([], replace(TINY, shapes=())) == 0
    shown = capsys.readouterr().out
    assert "lenet at batch 1: dragon does not run: " in shown
    assert "dragon, bf16" in shown
    monkeypatch.setattr("benchmarks.gpu_training.OURS", {"dragon": ("fp12", False)})
    assert main([], replace(TINY, shapes=())) == 0
    assert "lenet at batch 1: nothing of ours runs" in capsys.readouterr().out


def test_without_a_gpu_one_line_says_why(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert main(["--out", str(tmp_path / "out")], TINY) == 2
    shown = capsys.readouterr().out.splitlines()
    assert shown[-1].startswith("nothing was measured: CuPy is not installed")
    assert not (tmp_path / "out").exists()


def test_without_what_everything_needs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    assert main(["--check"], TINY) == 2
    assert capsys.readouterr().out.startswith("google.protobuf is missing (everything)")


def test_a_dry_run_counts_each_case(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--dry-run", "--out", str(tmp_path)], TINY) == 0
    planned = json.loads((tmp_path / "gpu.json").read_text())["planned"]
    assert [(p["net"], p["precision"]) for p in planned] == [("lenet", "fp32"), ("lenet", "bf16")]
    assert planned[1]["bytes"] < planned[0]["bytes"]
    assert "nothing ran on a GPU" in capsys.readouterr().out


def test_aims_are_judged() -> None:
    times = {"dragon": 2.0, "dragon, bf16": 1.0, "torch eager": 7.0, "torch compiled": 1.1}
    assert set(times) <= {*OURS, *PEERS}
    series = {name: Series([ms] * 3) for name, ms in times.items()}
    assert aims(Case("cifar10_quick", 100), series) == [
        "reached: cifar10_quick at batch 100: over eager, both in float32: 3.50 x, aim 3.0 x",
        "MISSED: cifar10_quick at batch 100: best of ours over the best PyTorch: 1.10 x, aim 1.2 x",
    ]
    assert aims(Case("resnet50", 64), series)[0].startswith("reached: ")
    assert aims(Case("cifar10_quick", 100), {"dragon": series["dragon"]}) == []
