"""The GPU benchmarks run from end to end on the emulated GPU at tiny sizes, without a peer."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks._harness import Series
from benchmarks.gpu import SHAPES, Plan, main, shares
from benchmarks.gpu_cases import OURS, PEERS, Case, aims
from benchmarks.gpu_training import Settings, training
from dragon.engines.cuda.device.counting import CountingDevice, Shaped
from dragon.engines.cuda.lowerings.channel_slices import RUN, slices
from dragon.engines.cuda.lowerings.channels import Channels
from tests.engines.cuda.conftest import cuda, emulated  # noqa: F401

QUICK = Settings(rounds=1, block_ms=0.1, ours="tests.benchmarks.emulated_gpu", device="cpu")


def tiny(*cases: Case, shapes: tuple[tuple[int, ...], ...] = ()) -> Plan:
    return Plan(
        cases={"quick": list(cases or [Case("lenet", 1)])}, shapes=shapes, copied_megabytes=1, repeats=2, settings=QUICK
    )


def test_two_shapes_lie_on_either_side_of_the_limit_of_runs() -> None:
    """On an H200 one launch normalises the first of them in bf16 without being timed; the second is timed."""
    device, found = CountingDevice(), []
    for n, c in SHAPES[-2:]:
        of = slices(device, Channels.of(device, n, c, 1), 1, Shaped((n, c), np.uint16))
        assert of is not None
        assert (of.rounds, of.shared <= device.shared_bytes) == (1, True)
        found.append((of.group * 2, of.is_sure))
    assert found == [(RUN, True), (RUN - 32, False)]


@pytest.mark.usefixtures("emulated")
def test_tables_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    some = {name: OURS[name] for name in ("dragon", "dragon, bf16")}  # each is a process that compiles kernels
    monkeypatch.setattr("benchmarks.gpu_training.OURS", some)
    plan = tiny(shapes=((2, 8, 4, 4), (16, 8)))
    assert main(["--out", str(tmp_path / "out"), "--stages", "kernels,quick", "--budget", "200"], plan) == 0
    shown = capsys.readouterr().out
    assert "torch is missing: ours is timed without a peer" in shown
    facts = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert facts["torch"] is None
    assert any(line.startswith("torch is missing (PyTorch's side)") for line in facts["missing"])
    (measured,) = facts["training"]
    assert (measured["net"], measured["batch"]) == ("lenet", 1)
    assert list(measured["series"]) == list(some)
    for name, series in measured["series"].items():
        assert series["min_ms"] > 0
        assert series["gpu_ms"]["median_ms"] > 0
        assert series["peak_mib"] >= 0
        assert "whole iteration: graph" in series["remarks"]
        assert series["layers"]["conv1"] == ("kernels" if name == "dragon" else "kernels, channels last")
    assert [(f["shape"], f["precision"]) for f in facts["normalization"]] == [
        ([2, 8, 4, 4], "fp32"), ([16, 8], "fp32"), ([2, 8, 4, 4], "bf16"), ([16, 8], "bf16"),
    ]  # fmt: skip
    assert all(f["forward_of_copy"] > 0 and f["split_over_merged"] > 0 for f in facts["normalization"])
    assert all(f["forward_of_several"] > 0 and f["backward_of_several"] > 0 for f in facts["normalization"])
    assert len(facts["aims"]) == 4
    assert all(f["backward_of_equal_copy"] > 0 for f in facts["normalization"])
    assert "2x8x4x4 in fp32, of the copy rate: " in facts["aims"][0]
    assert facts["stages"]["kernels"]["share_s"] + facts["stages"]["quick"]["share_s"] >= 200
    written = (tmp_path / "out" / "gpu.md").read_text()
    for line in written.strip().split("\n\n"):
        assert line in shown
    assert "| lenet |" in written


@pytest.mark.usefixtures("emulated")
def test_what_does_not_run_is_told_and_the_rest_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    some = {"dragon": ("fp12", False), "dragon, bf16": ("bf16", False)}
    monkeypatch.setattr("benchmarks.gpu_training.OURS", some)
    assert main(["--stages", "quick"], tiny()) == 0
    shown = capsys.readouterr().out
    assert "lenet at batch 1: dragon does not run: " in shown
    assert "dragon, bf16" in shown
    monkeypatch.setattr("benchmarks.gpu_training.OURS", {"dragon": ("fp12", False)})
    assert main(["--stages", "quick"], tiny()) == 0
    assert "lenet at batch 1: nothing of ours runs" in capsys.readouterr().out


@pytest.mark.usefixtures("emulated")
def test_a_case_that_is_ended_keeps_those_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr("benchmarks.gpu_training.OURS", {"dragon": ("fp32", False)})

    def interrupted(case: Case, *rest: Any) -> Any:
        if case.batch == 2:
            raise KeyboardInterrupt
        return training(case, *rest)

    monkeypatch.setattr("benchmarks.gpu.training", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main(["--out", str(tmp_path), "--stages", "quick"], tiny(Case("lenet", 1), Case("lenet", 2)))
    assert [case["net"] for case in json.loads((tmp_path / "gpu.json").read_text())["training"]] == ["lenet"]
    assert "| lenet |" in (tmp_path / "gpu.md").read_text()


@pytest.mark.usefixtures("emulated")
def test_a_spent_budget_skips_what_is_left(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["--budget", "1.5", "--stages", "kernels,quick"], tiny()) == 0
    shown = capsys.readouterr().out
    assert "kernels: skipped, the budget is spent" in shown


def test_what_a_stage_leaves_goes_to_the_later_ones() -> None:
    assert shares(["quick", "resnet50"], 180) == 60
    assert shares(["resnet50"], 160) == 160


def test_unknown_stages_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--stages", "kernels,qick"], tiny())
    assert ended.value.code == 2
    assert '"qick" is not a stage; there are smoke, tests, ' in capsys.readouterr().err


def test_peers_are_chosen_by_name() -> None:
    assert set(Settings(only="compiled.*bf16|eager$").forms()) == {
        "torch compiled graph channels_last, bf16", "torch compiled channels_last, bf16", "torch eager",
    }  # fmt: skip
    assert list(Settings().forms()) == list(PEERS)


@pytest.mark.parametrize(
    ("pattern", "said"), [("eeger", '"eeger" finds no peer of torch eager'), ("(", '"(" is not a regular expression')]
)
def test_a_pattern_without_peers_is_refused(capsys: pytest.CaptureFixture[str], pattern: str, said: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--peers", pattern], tiny())
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_without_a_gpu_one_line_says_why(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert main(["--out", str(tmp_path / "out")], tiny()) == 2
    shown = capsys.readouterr().out.splitlines()
    assert shown[-1].startswith("nothing was measured: CuPy is not installed")
    assert not (tmp_path / "out").exists()


def test_without_what_everything_needs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    assert main(["--check"], tiny()) == 2
    assert capsys.readouterr().out.startswith("google.protobuf is missing (everything)")


def test_a_dry_run_counts_each_case(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--dry-run", "--out", str(tmp_path)], tiny()) == 0
    planned = json.loads((tmp_path / "gpu.json").read_text())["planned"]
    assert [(p["net"], p["precision"]) for p in planned] == [("lenet", "fp32"), ("lenet", "bf16")]
    assert planned[1]["bytes"] < planned[0]["bytes"]
    assert "nothing ran on a GPU" in capsys.readouterr().out


def test_aims_are_judged() -> None:
    times = {
        "dragon": 2.0, "dragon, bf16": 1.0, "torch eager": 7.0, "torch compiled channels_last": 1.1,
        "torch graph": 1.2, "torch compiled graph channels_last, bf16": 1.05, "torch eager channels_last, bf16": 0.9,
    }  # fmt: skip
    assert set(times) <= {*OURS, *PEERS}
    series = {name: Series([ms] * 3) for name, ms in times.items()}
    assert aims(Case("cifar10_quick", 100), series) == [
        "reached: cifar10_quick at batch 100: over eager, both in float32: 3.50 x, aim 1.5 x",
        "MISSED: cifar10_quick at batch 100: dragon, bf16 over torch compiled channels_last, the best compiled: "
        "1.10 x, aim 1.3 x",
        "reached: cifar10_quick at batch 100: dragon, bf16 over torch compiled graph channels_last, bf16, the best "
        "whole-step graph: 1.05 x, aim 1.0 x",
    ]
    assert aims(Case("resnet50", 64), series) == [
        "MISSED: resnet50 at batch 64: dragon over torch compiled channels_last, the best peer: 0.55 x, aim 0.95 x",
        "MISSED: resnet50 at batch 64: dragon, bf16 over torch eager channels_last, bf16, the best peer: 0.90 x, "
        "aim 0.95 x",
    ]
    assert aims(Case("cifar10_quick", 100), {"dragon": series["dragon"]}) == []
