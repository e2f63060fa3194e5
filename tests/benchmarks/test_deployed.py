"""The benchmark of deployed nets, on small images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import deployed
from benchmarks.deployed import main
from tests.engines import needs

TINY = ["--engine", "numpy", "--net", "squeezenet_v1.1", "--size", "35", "--batch", "2", "--rounds", "1"]
TINY += ["--block-ms", "1"]


def test_times_first_scores_and_memory_against_a_peer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "out.json"
    assert main([*TINY, "--peer", "ONNX Runtime", "--clock", "cpu", "--json", str(path)]) == 0
    (result,) = json.loads(path.read_text())["results"]
    assert (result["net"], result["batch"], result["notes"]) == ("squeezenet_v1.1", 2, [])
    for name in ("Dragon", "ONNX Runtime"):
        found = result["candidates"][name]
        assert found["min_ms"] > 0
        assert found["first_s"] > 0
        assert found["peak_mb"] > 10
    assert result["ratios"]["ONNX Runtime"]["median"] > 0
    shown = capsys.readouterr().out
    assert "| ONNX Runtime / Dragon" in shown
    assert "| Dragon MB" in shown


def test_another_onednn_is_timed_beside_the_own(tmp_path: Path) -> None:
    own = needs.onednn().path
    path = tmp_path / "out.json"
    tiny = [word if word != "numpy" else "onednn" for word in TINY]
    assert main([*tiny, "--no-peer", "--onednn", own, "--json", str(path)]) == 0
    (result,) = json.loads(path.read_text())["results"]
    assert list(result["candidates"]) == ["Dragon", "other oneDNN"]
    assert main([*tiny, "--no-peer", "--onednn", str(tmp_path / "none.so")]) == 2


def test_own_precisions_are_timed_beside_int8(tmp_path: Path) -> None:
    needs.onednn()
    path = tmp_path / "out.json"
    tiny = [word if word != "numpy" else "onednn" for word in TINY]
    common = [*tiny, "--precision", "int8", "--json", str(path)]
    assert main([*common, "--no-peer", "--own", "fp32"]) == 0
    (result,) = json.loads(path.read_text())["results"]
    assert list(result["candidates"]) == ["Dragon", "Dragon fp32"]
    assert 0 < result["candidates"]["Dragon"]["error"] < 1
    assert result["candidates"]["Dragon fp32"]["error"] == 0
    assert main(common) == 2


def test_a_peer_with_other_scores_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setitem(deployed._TOLERANCE, "fp32", 0.0)
    monkeypatch.setattr(deployed, "_difference", lambda scores, expected: 0.0 if scores is expected else 0.5)
    path = tmp_path / "out.json"
    assert main([*TINY, "--peer", "ONNX Runtime", "--json", str(path)]) == 0
    (result,) = json.loads(path.read_text())["results"]
    assert list(result["candidates"]) == ["Dragon"]
    assert result["notes"] == ["ONNX Runtime left out: its scores differ by 0.5 of the largest"]


def test_scores_that_are_not_finite_differ() -> None:
    assert deployed._difference([2.0, 1.5], [2.0, 1.0]) == 0.25
    assert not deployed._difference([float("nan"), 1.0], [2.0, 1.0]) <= 1


def test_operations_stand_beside_the_layers_that_they_compute() -> None:
    ours = [
        {"layer": "conv1", "names": ["conv1", "relu1"], "type": "Convolution", "ms": 1.0, "how": "onednn"},
        {"layer": "pool1", "names": ["pool1"], "type": "Pooling", "ms": 0.5, "how": "onednn"},
    ]
    theirs = [
        {"layer": "conv1/WithoutBiases", "type": "Convolution", "ms": 0.7, "how": "brgconv"},
        {"layer": "relu1", "type": "Relu", "ms": 0.1, "how": "jit"},
        {"layer": "data_abcd_acdb", "type": "Reorder", "ms": 0.2, "how": "reorder"},
    ]
    assert deployed._beside(ours, theirs) == [
        ["conv1", "Convolution", 1.0, pytest.approx(0.8), "onednn", "brgconv jit"],
        ["pool1", "Pooling", 0.5, None, "onednn", ""],
        ["data_abcd_acdb", "Reorder", None, 0.2, "", "reorder"],
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--clock", "cpu", "--threads", "2"], "--clock cpu adds up the times of all threads: it needs --threads 1"),
        (["--net", "squeezenet"], 'the zoo has no net "squeezenet"'),
        (["--precision", "bf16", "--peer", "OpenCV"], "OpenCV, ONNX Runtime and MNN are measured in fp32"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--engine", "numpy"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
