"""What is refused and warned of in int8, on both engines of the CPU."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import dragon
from dragon.engines import Options
from dragon.engines.int8.arithmetic import Range
from dragon.engines.int8.table import Calibration, digest_of
from dragon.errors import EngineError, UsageError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from tests.engines import needs
from tests.engines.int8.test_table import NET

ENGINES = ["numpy", "onednn"]
TABLE = Calibration("two", "", "max", None, 1, {"conv": Range(2.0, signed=True), "ip": None})


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "onednn":
        needs.onednn()
    return str(request.param)


def make(engine: str, phase: int = dragon.TEST, **options: object) -> dragon.Net:
    chosen = {"precision": "int8", "calibration": TABLE, "threads": 1, **options}
    return dragon.Net(
        parse_text(NET, pb.NetParameter()), phase=phase, engine=engine, seed=1, options=Options(**chosen)  # type: ignore[arg-type]
    )  # fmt: skip


def test_training_is_refused(engine: str) -> None:
    with pytest.raises(UsageError, match="int8 runs nets in phase TEST only: train in fp32 or bf16"):
        make(engine, dragon.TRAIN)


def test_a_calibration_is_needed(engine: str) -> None:
    with pytest.raises(UsageError, match="int8 needs the ranges of a calibration: `dragon calibrate` measures them"):
        make(engine, calibration=None)
    with pytest.raises(UsageError, match="a calibration is for precision int8, got it with bf16"):
        Options(precision="bf16", calibration="t.yaml")


def test_there_is_no_backward(engine: str) -> None:
    net = make(engine)
    net.run_forward()
    with pytest.raises(UsageError, match="int8 runs forward only, it has no backward"):
        net.run_backward()
    with pytest.raises(UsageError, match="int8 runs forward only, it has no backward"):
        net.executor.profile(1)


def test_other_weights_than_the_calibrated_are_told_once(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    right = replace(TABLE, weights=digest_of(make(engine)))
    caplog.set_level(logging.WARNING, "dragon")
    make(engine, calibration=right).run_forward()
    assert not caplog.messages
    net = make(engine, calibration=replace(right, file="t.yaml"))
    net.params["ip"][1].data[...] = np.arange(5)
    net.run_forward()
    net.run_forward()
    assert caplog.messages == ['t.yaml was measured with other weights of net "two": its ranges may be wrong']


def test_a_missing_file_is_one_line(engine: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none.yaml: cannot be read: No such file"):
        make(engine, calibration=tmp_path / "none.yaml")


def test_onednn_takes_no_float64() -> None:
    needs.onednn()
    definition = parse_text(NET, pb.NetParameter())
    options = Options(precision="int8", calibration=TABLE)
    with pytest.raises(EngineError, match="int8 needs a net of float32, got float64"):
        dragon.Net(definition, phase=dragon.TEST, engine="onednn", seed=1, dtype=np.float64, options=options)


def test_the_reference_multiplies_what_is_left_of_bottom_and_weights() -> None:
    net, plain = make("numpy"), make("numpy", precision="fp32", calibration=None)
    x = np.random.default_rng(1).uniform(-2, 2, (2, 3, 4, 4)).astype(np.float32)
    for each in (net, plain):
        each.blobs["x"].data[...] = x
    weight = net.params["conv"][0].peek().copy()
    net.run_forward()
    scale = np.abs(weight).max((1, 2, 3), keepdims=True) / 127
    plain.params["conv"][0].data[...] = np.rint(weight / scale) * scale
    plain.blobs["x"].data[...] = np.rint(x / (2 / 127)) * (2 / 127)
    plain.run_forward()
    np.testing.assert_allclose(net.blobs["y"].peek(), plain.blobs["y"].peek(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(net.params["conv"][0].peek(), weight)
    np.testing.assert_array_equal(net.blobs["x"].peek(), x)
