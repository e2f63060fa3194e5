"""What is refused and warned of in int8, on both engines of the CPU."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize("wrong", [5, b"t.yaml", ["t.yaml"], {"conv": 1.0}])
def test_what_is_no_calibration_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match="calibration must be a Calibration or its file, got "):
        Options(precision="int8", calibration=wrong)


ONE = """
name: "two" layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 6 dim: 1 dim: 7 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "c"
  convolution_param { num_output: 6 kernel_size: 1 bias_term: false } }
layer { name: "relu" type: "ReLU" bottom: "c" top: "r" }
layer { name: "ip" type: "InnerProduct" bottom: "r" top: "y"
  inner_product_param { num_output: 2 bias_term: false } }
"""


def one(engine: str, signed: bool, limit: float = 1.0) -> dragon.Net:
    """A convolution in int8, whose output i reads channel i alone, and layers in float32."""
    table = replace(TABLE, layers={"conv": Range(limit, signed), "ip": None})
    options = Options(precision="int8", calibration=table, threads=1)
    net = dragon.Net(parse_text(ONE, pb.NetParameter()), phase=dragon.TEST, engine=engine, seed=1, options=options)
    net.params["conv"][0].data[...] = np.eye(6, dtype=np.float32)[..., None, None]
    net.params["ip"][0].data[...] = 0
    return net


@pytest.mark.parametrize("signed", [True, False])
def test_inputs_that_are_not_finite_round_alike(engine: str, signed: bool) -> None:
    net = one(engine, signed)
    if engine == "onednn" and signed and not net.executor.device.has_vnni:  # type: ignore[attr-defined]
        pytest.skip("a processor without VNNI leaves layers that read negative values in float32")
    net.blobs["x"].data[...] = np.array([np.nan, -np.nan, np.inf, -np.inf, 1, -9], np.float32).reshape(6, 1, 1)
    net.run_forward()
    least = -128 / 127 if signed else 0
    wanted = np.array([signed, signed, 1, least, 1, least], np.float32)
    np.testing.assert_allclose(net.blobs["c"].peek()[0], wanted[:, None, None].repeat(7, 2), rtol=1e-6)
    np.testing.assert_allclose(net.blobs["r"].peek()[0], wanted[:, None, None].repeat(7, 2).clip(0), rtol=1e-6)


@pytest.mark.parametrize("limit", [0.0, 1e-45, 1e-30, float(np.finfo(np.float32).max)])
@pytest.mark.parametrize("signed", [True, False])
def test_no_limit_gives_infinities(engine: str, signed: bool, limit: float) -> None:
    net = one(engine, signed, limit)
    x = np.array([0, limit, -limit, 1, 3.4e38, -3.4e38], np.float32)
    net.blobs["x"].data[...] = x.reshape(6, 1, 1)
    net.run_forward()
    assert np.isfinite(net.blobs["c"].peek()).all()
    assert np.isfinite(net.blobs["y"].peek()).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_show_in_the_scores(engine: str, bad: float) -> None:
    net = one(engine, signed=False)
    net.blobs["x"].data[...] = 1
    net.params["conv"][0].data[2, 2] = bad
    net.run_forward()
    for name in "cr":
        np.testing.assert_array_equal(np.isnan(net.blobs[name].peek()).all((0, 2, 3)), np.arange(6) == 2)
    assert np.isnan(net.blobs["y"].peek()).all()
    net.params["conv"][0].data[2, 2] = 1
    net.run_forward()
    assert np.isfinite(net.blobs["y"].peek()).all()


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
