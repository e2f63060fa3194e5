"""calibrate as a command, and the commands that take its file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dragon.engines.int8.arithmetic import Range
from dragon.engines.int8.table import Calibration
from dragon.engines.onednn.library.device import Device
from tests.tools.conftest import Dragon

MODEL = ("--model", "net.prototxt", "--weights", "net.caffemodel")
INT8 = ("--precision", "int8", "--calibration", "t.yaml")


@pytest.fixture
def calibrated(trained: Path, dragon: Dragon) -> Path:
    result = dragon("calibrate", *MODEL, "--iterations", "2", "--output", "t.yaml", "--threads", "1")
    assert result.code == 0, result.err
    assert re.search(r"^conv +\d[\d.]* +s8$", result.out, re.MULTILINE)
    assert re.search(r"^ip +\d[\d.]* +u8$", result.out, re.MULTILINE)
    assert "t.yaml: ranges of 2 batches of 8, " in result.out
    return trained


def loss(text: str) -> float:
    return float(re.findall(r"^Loss: ([\d.e+-]+)", text, re.MULTILINE)[0])


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
def test_scores_in_int8(calibrated: Path, dragon: Dragon, engine: str) -> None:
    common = ("test", *MODEL, "--iterations", "2", "--engine", engine, "--threads", "1")
    plain, rounded = dragon(*common), dragon(*common, *INT8)
    assert rounded.code == 0, rounded.err
    assert loss(rounded.out) != loss(plain.out)
    assert loss(rounded.out) == pytest.approx(loss(plain.out), rel=0.02)
    assert "measured with other weights" not in rounded.err


def test_time_says_which_layers_run_in_int8(calibrated: Path, dragon: Dragon) -> None:
    common = ("time", *MODEL, "--iterations", "1", "--engine", "onednn")
    result = dragon(*common, "--phase", "TEST", "--no-backward", *INT8)
    assert result.code == 0, result.err
    assert re.search(r"^ip .*, int8", result.out, re.MULTILINE)
    # it reads negative values
    assert bool(re.search(r"^conv .*, int8", result.out, re.MULTILINE)) == Device().has_vnni
    assert dragon(*common, *INT8).error == (
        "precision int8 runs nets in phase TEST only: train in fp32 or bf16, then use `dragon calibrate` "
        "(`dragon time`: --phase test --no-backward)"
    )
    assert "no backward (`dragon time`: --no-backward)" in dragon(*common, "--phase", "TEST", *INT8).error


def test_an_export_measures_its_own_ranges(calibrated: Path, dragon: Dragon) -> None:
    pytest.importorskip("onnx")
    result = dragon("export", *MODEL, "--onnx", "q.onnx", "--int8", "--calibration", INT8[-1])
    assert result.code == 2
    assert result.error == (
        f"{INT8[-1]}: ranges that `dragon calibrate` measured, for --precision int8; an export measures its own, "
        "from an LMDB, a folder or list of images, or a .npy file"
    )
    assert not Path("q.onnx").exists()


def test_refusals(calibrated: Path, dragon: Dragon) -> None:
    assert "phase TEST only" in dragon("train", "--solver", "solver.prototxt", *INT8).error
    assert "needs the ranges of a calibration" in dragon("test", *MODEL, *INT8[:2]).error
    assert "is for precision int8, got it with fp32" in dragon("test", *MODEL, *INT8[2:]).error
    assert "cannot be read" in dragon("test", *MODEL, *INT8[:3], "none.yaml").error
    table = (calibrated / "t.yaml").read_text()
    (calibrated / "t.yaml").write_text(table.replace("conv:", "conf:"))
    wanted = r'layer "conv" \(Convolution\): the calibration t.yaml does not name it \(did you mean "conf"\?\)'
    assert re.fullmatch(f".*{wanted}", dragon("test", *MODEL, *INT8).error)
    assert "t.yaml is an input" not in dragon("calibrate", *MODEL, "--output", "t.yaml", "--iterations", "1").err
    assert "net.prototxt is an input" in dragon("calibrate", *MODEL, "--output", "net.prototxt").error


def test_an_empty_table_is_one_line(calibrated: Path, dragon: Dragon) -> None:
    lines = (calibrated / "t.yaml").read_text().splitlines(keepends=True)
    (calibrated / "t.yaml").write_text("".join(line for line in lines if not line.startswith("  ")))
    result = dragon("test", *MODEL, *INT8)
    assert result.code == 2
    assert re.fullmatch(r't.yaml:\d+: "layers" has no value', result.error)


def test_a_percentile_is_not_ignored(trained: Path, dragon: Dragon) -> None:
    result = dragon("calibrate", *MODEL, "--percentile", "50")
    assert result.code == 2
    assert result.error == "a percentile is for method percentile, got 50 with method max"
    assert not (trained / "calibration.yaml").exists()


def test_the_gpu_takes_no_int8(calibrated: Path, dragon: Dragon) -> None:
    result = dragon("time", "--model", "net.prototxt", "--dry-run", *INT8)
    assert result.error == "the CUDA engine computes in fp32, bf16, fp16, not in int8"


def test_training_data_that_is_not_there(trained: Path, dragon: Dragon) -> None:
    text = (trained / "net.prototxt").read_text().replace("phase: TRAIN", "phase: TEST stage: 'x'")
    (trained / "test.prototxt").write_text(text)
    result = dragon("calibrate", "--model", "test.prototxt", *MODEL[2:], "--training-data")
    assert result.error == "test.prototxt: has no Data layer of phase TRAIN, which --training-data would read"


def test_settings_and_training_data(trained: Path, dragon: Dragon) -> None:
    common = ("calibrate", *MODEL, "--iterations", "3", "--engine", "numpy")
    assert dragon(*common, "--output", "test.yaml").code == 0
    result = dragon(
        *common, "--output", "t.yaml", "--training-data", "--method", "percentile", "--percentile", "50", "--float32",
        "ip", "--json",
    )  # fmt: skip
    assert result.code == 0, result.err
    document = json.loads(result.out)
    assert (document["method"], document["percentile"], document["batches"]) == ("percentile", 50, 3)
    conv, ip = document["layers"]
    assert ip == {"layer": "ip", "limit": None, "signed": None}
    assert conv["layer"] == "conv"
    assert conv["signed"]
    table, other = Calibration.read("t.yaml"), Calibration.read("test.yaml")
    assert table.layers["ip"] is None
    of, whole = table.layers["conv"], other.layers["conv"]
    assert of is not None
    assert whole is not None
    assert 0 < of.limit < whole.limit


@pytest.mark.parametrize(
    "line",
    [
        "summarize --model {}", "train --solver {}", "test --model net.prototxt --weights {}", "compare {}", "plot {}",
        "train --solver solver.prototxt --snapshot {}", "train --solver solver.prototxt --weights {}", "parse-log {}",
        "classify --model net.prototxt --weights {} x.png", "show-data {} x.png", "upgrade {} x.prototxt", "lint {}",
        "compute-image-mean {} mean.binaryproto", "convert-imageset . {} db", "draw {} x.svg",
        "merge --model {} --out-model x.prototxt",
    ],
)  # fmt: skip
def test_a_command_that_is_given_a_calibration_says_so(work: Path, dragon: Dragon, line: str) -> None:
    Calibration("small", "sha256:0", "max", None, 1, {"conv": Range(1.0, True), "ip": None}).save("table.yaml")
    result = dragon(*line.format("table.yaml").split())
    assert result.code == 2
    assert "table.yaml" in result.error
    assert "a calibration, which belongs to --calibration" in result.error


def test_a_calibration_that_is_another_file(work: Path, dragon: Dragon) -> None:
    flags = ("--model", "net.prototxt", "--precision", "int8", "--phase", "test", "--no-backward", "--calibration")
    Path("compare.yaml").write_text("variants:\n  - {name: a, net: net.prototxt}\n")
    for name, kind in (("net.prototxt", "the prototxt of a net"), ("compare.yaml", "an experiment")):
        result = dragon("time", *flags, name)
        assert (result.code, f"expected a calibration, this is {kind}" in result.error) == (2, True), result.error
