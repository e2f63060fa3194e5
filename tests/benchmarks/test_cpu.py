"""The CPU benchmarks run from end to end on tiny sizes, without a peer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cpu import main
from benchmarks.cpu_compare import Bench, Result
from benchmarks.cpu_program import program
from benchmarks.cpu_report import report, verdicts
from dragon.data.synthetic import write_synthetic

TINY = ["--no-peer", "--no-bf16", "--engine", "numpy", "--rounds", "1", "--batch", "2", "--block-ms", "1"]


@pytest.mark.parametrize("sections", [["step", "inference", "profile"], ["start", "threads"], ["bn", "winograd"]])
def test_sections_print_tables_and_write_json(
    sections: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.json"
    chosen = [word for name in sections for word in ("--only", name)]
    assert main([*TINY, "--net", "lenet", *chosen, "--json", str(path)]) == 0
    record = json.loads(path.read_text())
    assert list(record["sections"]) == sections
    assert record["machine"]["cores"] >= 1
    assert record["versions"]["dragon"]["threads"] >= 1
    shown = capsys.readouterr().out
    for name in sections:
        assert f"## {name}\n\n" in shown
        results = record["sections"][name]
        assert results
        times = [facts.get("min_ms", facts.get("seconds")) for r in results for facts in r["candidates"].values()]
        assert all(time > 0 for time in times)
        assert name == "profile" or times
    if "profile" in sections:
        layers = {layer["layer"]: layer for layer in record["sections"]["profile"][0]["layers"]}
        assert layers["conv2"]["forward_gflops"] > 0
        assert layers["conv1"]["passes_back"] == 1
        assert layers["conv2"]["passes_back"] == 2


def test_beside_other_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.cpu_busy.LOADS", ((0, 0), (1, 19)))
    monkeypatch.setattr("benchmarks.cpu_busy._SETTLE", 0.001)
    monkeypatch.setattr("benchmarks.cpu_busy._BLOCK", 1)
    path = tmp_path / "out.json"
    assert main([*TINY, "--net", "lenet", "--only", "busy", "--json", str(path)]) == 0
    results = json.loads(path.read_text())["sections"]["busy"]
    assert [(r["mode"], r["hogs"]) for r in results] == [
        ("train", "none"), ("train", "1, low"), ("infer", "none"), ("infer", "1, low"),
    ]  # fmt: skip
    for result in results:
        assert set(result["candidates"]) == {"chosen", "spinning", "passive"}
        assert result["ratios"]["spinning"]["median"] > 0
    assert "| spinning / chosen" in capsys.readouterr().out


def test_whole_program_from_lmdb(tmp_path: Path) -> None:
    made = write_synthetic(tmp_path / "drawn", train=200, test=10)
    folder = tmp_path / "data" / "cifar10"
    folder.parent.mkdir()
    (tmp_path / "drawn").rename(folder)
    (folder / made.train.name).rename(folder / "cifar10_train_lmdb")
    (result,) = program(Bench(rounds=1, engine="auto", bf16=False, iterations=2), cwd=tmp_path)
    assert result["images_per_second"]["bare step"] > 0
    assert "whole program" in result["images_per_second"]  # a difference of two runs: of any sign after 2 iterations
    assert "dragon train images/s" in report("program", [result])


def test_program_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="data/cifar10 is missing: run `dragon data cifar10` first"):
        list(program(Bench(engine="numpy"), cwd=tmp_path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--peer-python", "/nowhere/python"], "No such file"),
        (["--clock", "cpu"], "it needs --threads 1"),
        (["--no-peer", "--engine", "abacus", "--only", "step", "--net", "lenet"], 'unknown engine "abacus"'),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def _result(net: str, **ratios: float) -> Result:
    named: dict[str, Any] = {name.replace("_", " / ", 1).replace("_", " "): m for name, m in ratios.items()}
    shaped = {name: {"against": "eager", "median": value, "min": value} for name, value in named.items()}
    return {"net": net, "batch": 100, "candidates": {}, "ratios": shaped, "notes": []}


def test_verdicts_compare_with_the_aims() -> None:
    results = [_result("cifar10_quick", fp32_eager=2.1, fp32_best_fp32=1.25), _result("lenet", fp32_best_fp32=1.1)]
    assert verdicts({"step": results}) == [
        "- met: step cifar10_quick  batch 100: fp32 / eager 2.10, aim 2",
        "- MISSED: step cifar10_quick  batch 100: fp32 / best fp32 1.25, aim 1.3",
        "- below 1.2: step lenet batch 100: fp32 / best fp32 1.10",
    ]
    assert verdicts({}) == []
